package opaque

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// check looks at everything in a shard: each item is in its bucket, in the
// queue and in a chunk, nothing else is there, and few bytes are dead.
func (sh *shard) check(t testing.TB, model map[string]modelItem) {
	t.Helper()
	n := uint32(len(model))
	require.Equal(t, []uint32{n, n}, []uint32{sh.rows.n, sh.queue.n})
	seen := 0
	for b := range n {
		for r := sh.rows.at(b).head; r != 0; r = sh.slot(r).next {
			sl := sh.slot(r)
			key, data := sh.chunks.read(sl.at)
			want := model[string(key)]
			require.Equal(t, want.over, sl.over())
			require.True(t, bytes.Equal(want.data, data))
			require.Equal(t, b, bucketOf(sl.hash, n))
			require.Equal(t, sh.hash(key), sl.hash)
			require.Equal(t, r, sh.queue.at(sl.pos).slot)
			require.LessOrEqual(t, sh.queue.at(sl.pos).over, sl.over())
			seen++
		}
	}
	require.EqualValues(t, n, seen)
	for i := uint32(1); i < n; i++ {
		require.LessOrEqual(t, sh.queue.at((i-1)/children).over, sh.queue.at(i).over)
	}
	live, dead := 0, 0
	for key, item := range model {
		live += blockSize(len(key), len(item.data))
	}
	for i, ch := range sh.chunks.list {
		if uint32(i) != sh.chunks.current {
			require.Equal(t, ch.live > 0, ch.bytes != nil)
			dead += cap(ch.bytes) - ch.live
		}
	}
	require.Equal(t, []int{live, dead}, []int{sh.chunks.live, sh.chunks.dead})
	require.LessOrEqual(t, dead, live/deadShare+2*maxChunk)
}

type modelItem struct {
	data []byte
	over int64
	read []byte // as the shard returned it when it was written
}

// A shardModel does the same to a shard and to a map.
type shardModel struct {
	sh    shard
	items map[string]modelItem
}

func newShardModel() *shardModel {
	return &shardModel{sh: shard{seed: maphash.MakeSeed()}, items: map[string]modelItem{}}
}

// do does what four bytes say.
func (m *shardModel) do(t testing.TB, what, which, size, fill byte) {
	key := fmt.Sprint(which)
	if which%2 == 0 {
		key = base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{which}, 32))
	}
	data := bytes.Repeat([]byte{fill}, int(size))
	if size%16 == 0 {
		data = bytes.Repeat([]byte{fill}, 40*int(size)) // some are large
	}
	item, known := m.items[key]
	r, _ := m.sh.find(key, m.sh.hash([]byte(key)))
	require.Equal(t, known, r != 0)
	over := int64(fill)
	large := encodeLarge(key, data)
	switch {
	case what%4 == 0 && known:
		m.sh.drop(r)
		delete(m.items, key)
		require.True(t, bytes.Equal(item.data, item.read), "data that was returned never changes")
		return
	case what%4 == 1 && known: // a touch
		m.sh.slot(r).idle = max(item.over, over)
		item.over = m.sh.slot(r).over()
		m.items[key] = item
		return
	case known:
		require.True(t, bytes.Equal(item.data, item.read))
		sl := m.sh.slot(r)
		sl.idle, sl.deadline = over, 1<<40
		m.sh.advance(r)
		m.sh.replace(r, key, data, large)
	default:
		m.sh.add(key, m.sh.hash([]byte(key)), slot{idle: over, deadline: 1 << 40}, data, large)
		r, _ = m.sh.find(key, m.sh.hash([]byte(key)))
	}
	_, read := m.sh.chunks.read(m.sh.slot(r).at)
	m.items[key] = modelItem{data, over, read}
}

// FuzzShard does what the input says to a shard and to a map, and compares
// them.
func FuzzShard(f *testing.F) {
	random := rand.NewChaCha8([32]byte{1})
	for _, n := range []int{4, 100, 4000} {
		in := make([]byte, n)
		_, _ = random.Read(in)
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m := newShardModel()
		for op := range slices.Chunk(in, 4) {
			if len(op) == 4 {
				m.do(t, op[0], op[1], op[2], op[3])
			}
		}
		m.sh.check(t, m.items)
	})
}

// Many small items: pages, and chunks of every size.
func TestShardGrowsAndShrinks(t *testing.T) {
	sh, model := shard{seed: maphash.MakeSeed()}, map[string]modelItem{}
	add := func(i int) {
		key, data := fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, i%100)
		sh.add(key, sh.hash([]byte(key)), slot{idle: int64(i * 7919 % 1000), deadline: 1 << 40}, data, nil)
		model[key] = modelItem{data: data, over: int64(i * 7919 % 1000)}
	}
	drop := func(i int) {
		key := fmt.Sprint(i)
		r, _ := sh.find(key, sh.hash([]byte(key)))
		sh.drop(r)
		delete(model, key)
	}
	for i := range 3000 {
		add(i)
		if i%500 == 0 {
			sh.check(t, model)
		}
	}
	for i := range 3000 {
		if drop(i); i%500 == 0 {
			sh.check(t, model)
		}
	}
	require.Zero(t, sh.rows.n)
	require.Nil(t, sh.rows.list, "the memory of a rush is given back")
	require.Nil(t, sh.chunks.list)
}

// A chunk is left to the collector once its last block has moved.
func TestShardKeepsFewDeadBytes(t *testing.T) {
	sh, model := shard{seed: maphash.MakeSeed()}, map[string]modelItem{}
	const n = 2000
	for i := range 20 * n {
		key, data := fmt.Sprint(rand.IntN(n)), make([]byte, 50+rand.IntN(100))
		if r, _ := sh.find(key, sh.hash([]byte(key))); r == 0 {
			sh.add(key, sh.hash([]byte(key)), slot{}, data, nil)
		} else {
			sh.replace(r, key, data, nil)
		}
		model[key] = modelItem{data: data}
		if sh.chunks.dead > sh.chunks.live/deadShare+maxChunk {
			t.Fatalf("after %d writes %d bytes are alive, and %d are dead", i, sh.chunks.live, sh.chunks.dead)
		}
	}
	sh.check(t, model)
}
