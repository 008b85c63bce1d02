package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A lister can return many items without their data. A store need not be one,
// but devices.Registry needs one.
type lister interface {
	Headers(ctx context.Context, keys []string) ([]opaque.Item, error)
}

// headers tests the method Headers of stores that have it.
func headers(p *probe) {
	if _, ok := p.store.(lister); !ok {
		return
	}
	p.headers("no keys")
	var keys []string
	var want []opaque.Item
	for i, version := range []uint64{7, 1, 1<<63 + 1} {
		it := itemtest.New(version, fmt.Sprint("data ", i))
		it.SeenAt = it.SeenAt.Add(-time.Duration(i) * time.Minute)
		it.IdleDeadline = it.IdleDeadline.Add(time.Duration(i) * time.Second)
		key := itemtest.Key()
		p.create(key, it)
		keys, want = append(keys, itemtest.Key(), key), append(want, opaque.Item{}, it)
	}
	p.expectHeaders("three items, and an absent one before each", keys, want)

	touched, swapped := want[1], itemtest.New(2, "swapped")
	touched.SeenAt, touched.IdleDeadline = touched.SeenAt.Add(time.Minute), touched.IdleDeadline.Add(time.Minute)
	p.touch(keys[1], touched.SeenAt, touched.IdleDeadline, true, "activity")
	p.swap(keys[3], 1, swapped, true, "a save")
	p.delete(keys[5], "a logout")
	want[1], want[3], want[5] = touched, swapped, opaque.Item{}
	p.expectHeaders("after Touch, Swap and Delete", keys, want)

	p.manyHeaders()
	done, cancel := context.WithCancel(p.ctx)
	cancel()
	_, err := p.store.(lister).Headers(done, keys)
	p.expect(errors.Is(err, session.Unavailable),
		"Headers with a context that was done: the error is %v, and must wrap session.Unavailable", err)
}

// manyHeaders has as many keys as a subject with a thousand sessions, most of
// which are being renewed: more than many servers take parameters at once.
func (p *probe) manyHeaders() {
	const many, every = 3000, 100
	keys, want := make([]string, many), make([]opaque.Item, many)
	for i := range keys {
		if keys[i] = itemtest.Key(); i%every == 0 {
			want[i] = itemtest.New(uint64(i+1), "one of many")
			p.create(keys[i], want[i])
		}
	}
	p.expectHeaders("many keys", keys, want)
}

func (p *probe) headers(when string, keys ...string) []opaque.Item {
	if p.err != nil {
		return nil
	}
	got, err := p.store.(lister).Headers(p.ctx, keys)
	p.err = failed(when+": Headers", err)
	p.expect(len(got) == len(keys), "%s: Headers of %d keys returned %d items", when, len(keys), len(got))
	return got
}

// expectHeaders expects the items in the order of their keys, without Data.
func (p *probe) expectHeaders(when string, keys []string, want []opaque.Item) {
	got := p.headers(when, keys...)
	for i := 0; i < len(want) && p.err == nil; i++ {
		header := want[i]
		header.Data = nil
		p.expect(len(got[i].Data) == 0, "%s: Headers returned Data of item %d", when, i)
		p.expect(same(got[i], header), "%s: item %d is %s, want %s", when, i, text(got[i]), text(header))
	}
}
