package rotation

import (
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A record is what rotation needs to know of a key. Steps work on records; what
// they changed is brought into the set at the end. So a plan needs no keys.
type record struct {
	id      string
	alg     keyset.Algorithm
	dates   keyset.Dates
	was     keyset.Dates // before the step; zero if the key is planned
	private bool         // the file has the private half
	erased  bool         // it had, and nothing can sign with the key; else it may be in a KMS
	planned bool         // the key does not exist yet
	pruned  bool
	revoked bool
	reason  string                                  // of the revocation
	at      time.Time                               // of the revocation
	erase   bool                                    // the private half is to be erased
	prune   bool                                    // the key is to be pruned
	make    func(keyset.Dates) (*keyset.Key, error) // of a key that is planned
}

func (r *record) use() keyset.Use { return r.alg.Use() }

// Life is what decides whether the key makes tokens, wherever its private key is.
func (r *record) Life() keyset.Life {
	return keyset.Life{ID: r.id, Use: r.use(), Dates: r.dates, Revoked: r.revoked, Able: !r.pruned && !r.erased}
}

func (r *record) state(now time.Time) keyset.State { return r.Life().State(now) }

// open reports whether the key signs without an end.
func (r *record) open() bool { return r.dates.SignUntil.IsZero() }

// A book is the records of a set, with the policy and the time at which a step is taken.
type book struct {
	policy  keyset.Rules
	changed bool // the policy
	records []*record
	now     time.Time           // in whole seconds
	made    time.Time           // when a key created now becomes visible: now, or a second later
	planned map[keyset.Use]int  // keys that are planned
	outside map[keyset.Use]bool // external signers hold the private keys, see isExternal
	outages map[keyset.Use]bool // uses without a key that signs, see markOutages
}

func read(s *keyset.Set, now time.Time) *book {
	b := &book{
		policy: s.Rules(), now: now.Truncate(time.Second),
		planned: make(map[keyset.Use]int), outside: make(map[keyset.Use]bool), outages: make(map[keyset.Use]bool),
	}
	if b.made = b.now; b.made.Before(now) {
		b.made = b.made.Add(time.Second) // or its lead would begin too early
	}
	for _, k := range s.Keys() {
		b.records = append(b.records, recordOf(k))
	}
	for _, k := range s.Pruned() {
		r := recordOf(k)
		r.pruned = true
		b.records = append(b.records, r)
	}
	for _, use := range [...]keyset.Use{keyset.Signature, keyset.Encryption} {
		b.outside[use] = b.isExternal(use)
	}
	return b
}

func recordOf(k *keyset.Key) *record {
	r := &record{id: k.ID(), alg: k.Algorithm(), dates: k.Dates(), was: k.Dates(), private: k.HasPrivate() && !k.External(), erased: k.Erased()}
	r.at, r.reason, r.revoked = k.Revoked()
	return r
}

func (b *book) find(id string) (*record, error) {
	for _, r := range b.records {
		if r.id == id && !r.pruned {
			return r, nil
		}
	}
	return nil, fmt.Errorf("rotation: %w: %q", keyset.ErrUnknownKey, id)
}

// chain returns the key of a use that signs now, nil if none does, and those
// that will, in their order.
func (b *book) chain(use keyset.Use) (current *record, next []*record) {
	return keyset.Current(b.records, use, b.now), keyset.Waiting(b.records, use, b.now)
}

// last returns the key of a use that ceased to sign last, if it is still in its grace.
func (b *book) last(use keyset.Use) *record {
	return keyset.InGrace(b.records, use, b.policy.Grace, b.now)
}

// signer returns the key of a use that signs, be it in its grace; nil if none does.
func (b *book) signer(use keyset.Use) *record {
	if current, _ := b.chain(use); current != nil {
		return current
	}
	return b.last(use)
}

// newest returns the key of a use that began to sign last, whatever has become of it; nil if none has begun. With
// one, tokens of this use are expected, and its absence is an outage.
func (b *book) newest(use keyset.Use) (newest *record) {
	for _, r := range b.records {
		if r.use() == use && r.dates.Signs() && !b.now.Before(r.dates.SignFrom) && (newest == nil || r.dates.SignFrom.After(newest.dates.SignFrom)) {
			newest = r
		}
	}
	return newest
}

// uses returns the uses that the set has, or has had, keys for that sign. One that has keys to verify alone is not
// to be given others.
func (b *book) uses() (all []keyset.Use) {
	for _, use := range [...]keyset.Use{keyset.Signature, keyset.Encryption} {
		if current, next := b.chain(use); current != nil || len(next) > 0 || b.newest(use) != nil {
			all = append(all, use)
		}
	}
	return all
}

// algorithm is that of the key of a use that signs last, of those that were not withdrawn, nor are there to verify alone,
// nor, if there are others, were revoked; "" if there is none.
func (b *book) algorithm(use keyset.Use) keyset.Algorithm {
	var last record
	for _, r := range b.records {
		if r.use() != use || !r.dates.Signs() || last.alg != "" && r.revoked && !last.revoked {
			continue
		}
		if last.alg == "" || last.revoked && !r.revoked || !r.dates.SignFrom.Before(last.dates.SignFrom) {
			last = *r
		}
	}
	return last.alg
}

// add plans a new key that is published from at on.
func (b *book) add(alg keyset.Algorithm, at time.Time) *record {
	use := alg.Use()
	b.planned[use]++
	r := &record{
		id: fmt.Sprintf("%s+%d", use, b.planned[use]), alg: alg, private: true, planned: true,
		dates: keyset.Dates{Created: b.made, PublishAt: at, SignFrom: at},
		make:  func(d keyset.Dates) (*keyset.Key, error) { return keyset.Generate(alg, d) },
	}
	if b.outside[use] {
		r.make = func(keyset.Dates) (*keyset.Key, error) { return nil, notHere(use) }
	}
	b.records = append(b.records, r)
	return r
}

func notHere(use keyset.Use) error {
	return fmt.Errorf("%w: the private keys of use %s are not in the file: make the next one where they are, and bring its public half in: keygen import --external", ErrRefused, use)
}

// isExternal reports whether the keys that sign now and next live in a KMS, or, if there are none, the one that signed
// last: a new one in the file would be less safe.
func (b *book) isExternal(use keyset.Use) bool {
	current, next := b.chain(use)
	if current != nil {
		next = append(next, current)
	}
	if len(next) == 0 {
		r := b.newest(use)
		return r != nil && !r.private && !r.erased && !r.alg.Symmetric()
	}
	return slices.ContainsFunc(next, func(r *record) bool { return !r.private })
}

// known reports whether the key was published before the step, be it by another clock. An instance that has not heard of
// that step, nor of those shortly before it, may sign with such a key.
func (b *book) known(r *record) bool {
	return !r.planned && !r.was.PublishAt.After(b.now.Add(b.policy.ClockSkew))
}

// published returns the instant from which others can know the key. A key that
// had to sign immediately is published a little before it was made, see since.
func (r *record) published() time.Time { return latest(r.dates.PublishAt, r.dates.Created) }

// safe is the earliest instant at which a key may sign.
func (b *book) safe(r *record) time.Time {
	return b.policy.SafeFrom(r.alg, r.published())
}

func earliest(t ...time.Time) time.Time { return slices.MinFunc(t, time.Time.Compare) }

func latest(t ...time.Time) time.Time { return slices.MaxFunc(t, time.Time.Compare) }

// write brings what has changed into the set, and makes the keys that are planned.
func (b *book) write(s *keyset.Set) error {
	for _, r := range b.records {
		if err := b.writeRecord(s, r); err != nil {
			return err
		}
	}
	return nil
}

func (b *book) writeRecord(s *keyset.Set, r *record) error {
	if r.planned {
		k, err := r.make(r.dates)
		if err != nil {
			return err
		}
		return s.Add(k)
	}
	k := s.Key(r.id)
	if k == nil {
		return nil // it was pruned before
	}
	if !sameDates(k.Dates(), r.dates) {
		if err := s.SetDates(r.id, r.dates, b.now); err != nil {
			return err
		}
	}
	_, _, was := k.Revoked()
	switch {
	case r.revoked && !was:
		return s.Revoke(r.id, b.now, r.reason)
	case r.prune:
		return s.Prune(r.id, b.now)
	case r.erase:
		return s.Erase(r.id, b.now)
	}
	return nil
}

func sameDates(x, y keyset.Dates) bool {
	return x.Created.Equal(y.Created) && x.PublishAt.Equal(y.PublishAt) && x.SignFrom.Equal(y.SignFrom) &&
		x.SignUntil.Equal(y.SignUntil) && x.VerifyUntil.Equal(y.VerifyUntil)
}
