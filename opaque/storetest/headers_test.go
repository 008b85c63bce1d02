package storetest

import (
	"context"
	"slices"

	"github.com/cloakroom-go/cloakroom/opaque"
)

// Headers is that of a devices.Store, unless the flaw is about it.
func (s *store) Headers(ctx context.Context, keys []string) ([]opaque.Item, error) {
	if s.flaw == headersIgnoreContext {
		ctx = context.Background()
	}
	if err := s.done(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flaw == headersUnordered {
		keys = slices.Sorted(slices.Values(keys))
	}
	var all []opaque.Item
	for i, key := range keys {
		it, ok := s.items[s.key(key)]
		if old, was := s.shadow[s.key(key)]; was && s.flaw == headersOld {
			it = old
		}
		if s.flaw != headersWithData {
			it.Data = nil
		}
		if s.flaw == headersCapped && i >= 1000 {
			it = opaque.Item{}
		}
		if ok || s.flaw != headersShort {
			all = append(all, it)
		}
	}
	return all, nil
}
