package sqlstore

import (
	"context"
	"math/bits"
	"slices"

	"github.com/cloakroom-go/cloakroom/opaque"
)

// maxHeaders is how many statements there are for Headers: for 1, 2, 4 … keys.
const maxHeaders = 10

// Headers implements [devices.Store]. It returns an expired item like Get.
func (s *Store) Headers(ctx context.Context, keys []string) ([]opaque.Item, error) {
	if err := s.ready(ctx, "headers"); err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	found := make(map[string]opaque.Item, len(keys))
	for some := range slices.Chunk(keys, 1<<(maxHeaders-1)) {
		if err := s.retry(ctx, func() error { return s.findHeaders(s.forRead(ctx), some, found) }); err != nil {
			return nil, s.cfg.Dialect.unavailable("headers", err)
		}
	}
	items := make([]opaque.Item, len(keys))
	for i, key := range keys {
		items[i] = found[key]
	}
	return items, nil
}

// findHeaders fills in the items under some keys. The last key also takes the
// places of the statement that are left.
func (s *Store) findHeaders(ctx context.Context, keys []string, into map[string]opaque.Item) error {
	i := bits.Len(uint(len(keys) - 1))
	st, err := s.headers[i].prepared(ctx)
	if err != nil {
		return err
	}
	args := make([]any, 1<<i)
	for i := range args {
		args[i] = keys[min(i, len(keys)-1)]
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var key string
		var r row
		if err := rows.Scan(&key, &r.version, &r.seen, &r.idle, &r.dead); err != nil {
			return err
		}
		into[key] = r.item()
	}
	return rows.Err()
}
