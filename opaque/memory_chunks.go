package opaque

import (
	"encoding/binary"
	"math/bits"
)

const (
	// The size of a chunk grows with the shard, from minChunk to maxChunk bytes.
	// All sizes are size classes of the allocator.
	minChunk = 1 << 10
	maxChunk = 1 << 15

	// A block above largeBlock bytes has a chunk of its own.
	largeBlock = maxChunk / 8

	// A quarter as many bytes may be dead as are alive.
	deadShare = 4

	// moveFactor is how many bytes are looked at for each byte that dies, so that
	// the dead bytes stay within their share: the emptiest chunk has at least one
	// dead byte in five.
	moveFactor = deadShare + 1
)

// An address says where a block is.
type address struct{ chunk, offset uint32 }

// chunks keeps blocks. A block is
//
//	length of the key, length of the data    unsigned varints
//	the key, the data
//
// Blocks are written one after the other into the current chunk, and never
// change: Get returns the data where it is. When a block is freed, its bytes
// are dead. When too many are, the blocks that live are moved out of the chunk
// with the most dead ones, a few at a time, and the chunk is left to the
// garbage collector, which keeps it as long as somebody has data that Get
// returned.
type chunks struct {
	list       []chunk  // by number, from 1
	unused     []uint32 // numbers
	current    uint32   // the number of the chunk that is being filled, or 0
	live, dead int      // bytes; those of the current chunk can't be dead yet
	isEmptying bool     // a chunk is being emptied
	from       address  // of the next block that leaves it
}

type chunk struct {
	bytes []byte // its capacity is the size of the chunk
	live  int
}

// encodeLarge returns the block if it needs a chunk of its own, and otherwise
// nil. Copying takes a while, so this happens before a lock is taken.
func encodeLarge(key string, data []byte) []byte {
	size := blockSize(len(key), len(data))
	if size <= largeBlock {
		return nil
	}
	return appendBlock(make([]byte, 0, size), key, data)
}

// put keeps a block. large is what encodeLarge returned for it.
func (c *chunks) put(key string, data, large []byte) address {
	if large != nil {
		c.live += len(large)
		return address{chunk: c.add(chunk{large, len(large)})}
	}
	ch, at := c.room(blockSize(len(key), len(data)))
	ch.bytes = appendBlock(ch.bytes, key, data)
	return at
}

// move writes a block again, in the current chunk.
func (c *chunks) move(from address, size int) address {
	block := c.list[from.chunk].bytes[from.offset:][:size]
	ch, at := c.room(size)
	ch.bytes = append(ch.bytes, block...)
	c.free(from, size)
	return at
}

// room returns the chunk to which the caller must append so many bytes.
func (c *chunks) room(size int) (*chunk, address) {
	if c.current == 0 || cap(c.list[c.current].bytes)-len(c.list[c.current].bytes) < size {
		c.renew(size)
	}
	ch := &c.list[c.current]
	ch.live += size
	c.live += size
	return ch, address{c.current, uint32(len(ch.bytes))}
}

// renew begins another chunk, with room for size bytes.
func (c *chunks) renew(size int) {
	full := c.current
	n := max(minChunk, 8*size, min(maxChunk, c.live/8)) // what is left at its end is small
	c.current = c.add(chunk{bytes: make([]byte, 0, 1<<bits.Len(uint(n-1)))})
	if full == 0 {
		return
	}
	c.dead += cap(c.list[full].bytes) - c.list[full].live
	if c.list[full].live == 0 {
		c.drop(full)
	}
}

func (c *chunks) add(ch chunk) (number uint32) {
	if last := len(c.unused) - 1; last >= 0 {
		number, c.unused = c.unused[last], c.unused[:last]
		c.list[number] = ch
		return number
	}
	if len(c.list) == 0 {
		c.list = make([]chunk, 1, 4) // there is no chunk 0
	}
	c.list = append(c.list, ch)
	return uint32(len(c.list) - 1)
}

func (c *chunks) drop(number uint32) {
	c.dead -= cap(c.list[number].bytes)
	c.list[number] = chunk{}
	c.unused = append(c.unused, number)
	if c.from.chunk == number {
		c.isEmptying = false
	}
}

// free says that a block is needed no more. Its bytes stay as they are.
func (c *chunks) free(at address, size int) {
	ch := &c.list[at.chunk]
	ch.live -= size
	c.live -= size
	if at.chunk == c.current {
		return
	}
	if c.dead += size; ch.live == 0 {
		c.drop(at.chunk)
	}
}

// next returns the address of the next block that must leave its chunk, dead or
// alive. ok is false if there are few dead bytes.
func (c *chunks) next() (at address, ok bool) {
	if !c.isEmptying {
		c.choose()
	}
	return c.from, c.isEmptying
}

// choose looks for the chunk with the largest part of dead bytes.
func (c *chunks) choose() {
	if c.dead <= c.live/deadShare+2*minChunk {
		return
	}
	best, size, dead := 0, 1, 0
	for i := range c.list {
		ch := &c.list[i]
		n := cap(ch.bytes)
		if d := n - ch.live; d*size > dead*n && uint32(i) != c.current {
			best, size, dead = i, n, d
		}
	}
	c.isEmptying, c.from = dead > 0, address{chunk: uint32(best)}
}

// read returns what is at an address. Nobody may modify it.
func (c *chunks) read(at address) (key, data []byte) {
	b := c.list[at.chunk].bytes[at.offset:]
	keyLen, width := binary.Uvarint(b)
	b = b[width:]
	dataLen, width := binary.Uvarint(b)
	b = b[width:]
	if dataLen == 0 {
		return b[:keyLen:keyLen], nil
	}
	return b[:keyLen:keyLen], b[keyLen : keyLen+dataLen : keyLen+dataLen]
}

func appendBlock(dst []byte, key string, data []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = binary.AppendUvarint(dst, uint64(len(data)))
	return append(append(dst, key...), data...)
}

func blockSize(key, data int) int { return varintSize(key) + varintSize(data) + key + data }

func varintSize(n int) int { return (bits.Len(uint(n)|1) + 6) / 7 }
