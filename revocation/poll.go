package revocation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/clientauth"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/weburl"
)

const (
	maxAnswer    = 1 << 20 // bytes
	maxInstances = 32      // whose positions are remembered
)

// An instance is one instance of the application. Each numbers the ends that it
// has heard of, in its own order.
type instance struct {
	log    string
	upto   uint64    // all that matters up to this number is known here
	issued time.Time // of its last complete document
}

// poll asks until ctx ends.
func (r *Remote) poll(ctx context.Context) {
	for ctx.Err() == nil {
		more, err := r.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		r.note(err)
		r.prune()
		if more {
			continue
		}
		select {
		case <-time.After(r.cfg.Interval):
		case <-ctx.Done():
		}
	}
}

// note counts a fetch, and reports an outage.
func (r *Remote) note(err error) {
	r.fetches.Add(1)
	if r.failed = err != nil; !r.failed {
		r.told = false
		return
	}
	r.failures.Add(1)
	known := r.readAt.Load() != nil
	if r.told || known && r.staleness() <= r.cfg.MaxStaleness/2 {
		return
	}
	r.told = true
	then := "until they are, service tokens get 503"
	if known {
		then = fmt.Sprintf("when they have not been known for %v, service tokens get 503", r.cfg.MaxStaleness)
	}
	r.list.reports.tell(fmt.Errorf("revocation: the ends of sessions in the application are not known here; %s: %w",
		then, fault.Inner(err)))
}

func (r *Remote) prune() {
	if now := time.Now(); now.Sub(r.prunedAt) >= pruneRemote {
		r.list.prune(second(now))
		r.prunedAt = now
	}
}

// fetch asks once, and puts the ends in the answer in force. more says that
// there are more to fetch without waiting.
func (r *Remote) fetch(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, min(maxFetch, r.cfg.MaxStaleness/3))
	defer cancel()
	began := time.Now()
	body, err := r.get(ctx)
	if err != nil {
		return false, fmt.Errorf("revocation: fetch what has ended: %w", err)
	}
	d, err := r.read(ctx, body)
	if err == nil {
		err = r.hear(d, began)
	}
	if err != nil {
		return false, fmt.Errorf("revocation: what the application says has ended: %w", fault.Inner(err))
	}
	return d.more, nil
}

func (r *Remote) get(ctx context.Context) ([]byte, error) {
	u := *r.url
	query := u.Query()
	for _, in := range r.instances {
		query.Add("after", in.log+"."+strconv.FormatUint(in.upto, 10))
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	// HTTP/2 keeps using a connection after a request on it has timed out, also if
	// it is dead and was not closed. A wrapped Transport may not pass on that idle
	// connections are to be closed: then this request takes it out of use.
	if req.Close = r.failed; r.failed {
		r.client.CloseIdleConnections()
	}
	req.Header.Set("Accept", "application/jwt")
	req.Header.Set("Cache-Control", "no-cache")
	if r.cfg.ClientID != "" {
		clientauth.Prove(req, r.cfg.ClientID, r.cfg.ClientSecret)
	}
	body, _, err := weburl.Fetch(r.client, req, maxAnswer)
	return body, err
}

// read returns the document that an answer is, if it is the application's.
func (r *Remote) read(ctx context.Context, body []byte) (*document, error) {
	now := time.Now()
	is := keyset.Reading{
		Token: string(body), Most: maxAnswer, Typ: typEnded, Signed: true, Now: now,
		Keys: claims.Finder{Set: r.cfg.Keys},
	}
	if _, err := is.Verify(ctx); err != nil {
		return nil, err
	}
	if is.Signer.Algorithm().Symmetric() {
		return nil, errors.New("it is signed with a symmetric key")
	}
	d, err := decodeDocument(is.Frame.Payload)
	switch {
	case err != nil:
		return nil, err
	case d.issuer != r.cfg.Issuer:
		return nil, errors.New("it is from another issuer")
	case d.issued.After(now.Add(claims.MaxLeeway)):
		return nil, errors.New("it is dated later than now: the clock here, or the application's, is wrong")
	}
	return d, nil
}

// hear puts the ends in d in force. began is when the request for d began.
func (r *Remote) hear(d *document, began time.Time) error {
	in := r.instance(d.log)
	switch {
	case d.issued.Before(in.issued):
		return errors.New("the answer is older than one before, so it was recorded or kept in a cache")
	case d.after > in.upto:
		return errors.New("the answer is one to another question: it lacks ends that are not known here")
	case d.more && d.upto <= in.upto:
		return errors.New("the answer has nothing new, and promises more")
	}
	entries, err := d.entries()
	if err != nil {
		return err
	}
	now := second(time.Now())
	for _, e := range entries {
		if e.until <= now {
			continue
		}
		if r.list.isOverfull() {
			if r.list.prune(now); r.list.isOverfull() {
				return fmt.Errorf("there are more than %d ends, more than there is room for", r.list.Len())
			}
		}
		r.list.hear(e, now)
	}
	newer := d.issued.After(in.issued)
	if in.upto = max(in.upto, d.upto); d.more {
		r.know(in)
		return nil
	}
	in.issued = d.issued
	r.know(in)
	if at, before := knownAt(d, began), r.readAt.Load(); newer && (before == nil || at.After(*before)) {
		r.readAt.Store(&at)
	}
	return nil
}

// knownAt returns the instant up to which d tells all ends. A d that was made
// before it was asked for, such as one from a cache, is older than began; the
// part of that age that can't be a difference of the clocks counts.
func knownAt(d *document, began time.Time) time.Time {
	late := max(0, began.Sub(d.issued)-claims.DefaultLeeway)
	return began.Add(-d.stale - documentLife - late)
}

// instance returns what is known of an instance.
func (r *Remote) instance(log string) instance {
	for _, in := range r.instances {
		if in.log == log {
			return in
		}
	}
	return instance{log: log}
}

// know remembers an instance, and forgets the one that has not answered for
// longest if there are too many.
func (r *Remote) know(in instance) {
	others := slices.DeleteFunc(r.instances, func(other instance) bool { return other.log == in.log })
	r.instances = slices.Insert(others, 0, in)
	r.instances = r.instances[:min(len(r.instances), maxInstances)]
}
