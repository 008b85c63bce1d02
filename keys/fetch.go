package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/weburl"
)

const maxBody = 1 << 20 // bytes of an answer

// get fetches the set once. The set counts from now, when the fetch began: a
// key that is unpublished meanwhile was not seen any later.
func (r *Remote) get(now time.Time, force bool) (*remoteSet, error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.cfg.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("keys: fetch key set: %w", err)
	}
	// HTTP/2 keeps using a connection after a request on it has timed out. If the
	// connection is dead and was not closed, the next fetches would fail too. So
	// each fetch has a connection of its own.
	req.Close = true
	req.Header.Set("Accept", "application/jwk-set+json, application/json;q=0.9")
	if force {
		req.Header.Set("Cache-Control", "no-cache") // a cache on the way may not have the new key yet
	}
	body, header, err := weburl.Fetch(r.client, req, maxBody)
	if err != nil {
		return nil, fmt.Errorf("keys: fetch key set: %w", err)
	}
	return r.read(ctx, body, header, now)
}

// read reads the set, with the fetch's time limit.
func (r *Remote) read(ctx context.Context, body []byte, header http.Header, now time.Time) (*remoteSet, error) {
	public, err := keyset.ReadForeignSet(body, keyset.Algorithm(r.cfg.RSAAlgorithm))
	if err == nil {
		err = public.CheckModuli(ctx, r.moduli)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: fetch key set: %w", fault.Inner(err))
	}
	if len(public.Keys) == 0 && !bytes.Equal(bytes.Join(bytes.Fields(body), nil), []byte(`{"keys":[]}`)) {
		return nil, public.Because(errors.New("keys: fetch key set: no key of it can be used to verify"))
	}
	set := &remoteSet{
		keys: make(map[string]*keyset.Key, len(public.Keys)), leftOut: public.LeftOut,
		fetched: now, refreshAt: now.Add(freshFor(header)),
	}
	for _, k := range public.Keys {
		set.keys[k.ID()] = k
	}
	return set, nil
}

// freshFor returns how long the answer is good: its max-age less its Age (RFC
// 9111, Sections 5.2.2.1 and 5.1), within minRefresh and maxRefresh.
func freshFor(h http.Header) time.Duration {
	fresh := defaultRefresh
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return minRefresh
		case "max-age":
			if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				fresh = time.Duration(n) * time.Second
			}
		}
	}
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		fresh -= time.Duration(age) * time.Second // a cache on the way has kept it that long
	}
	return min(max(fresh, minRefresh), maxRefresh)
}

// checkRedirect keeps a fetch on the host that the application named (RFC 8725,
// Section 3.10).
func checkRedirect(req *http.Request, via []*http.Request) error {
	if err := weburl.CheckRedirect(req, via); err != nil {
		return err
	}
	req.Close = true // as in get
	return nil
}
