package opaque

// pageLen is how many elements a page has. A page of rows is 16 KiB, a size
// class of the allocator.
const pageLen = 256

// pages is a list that grows and shrinks at its end without moving elements, so
// that no request waits while a large array is copied. Only the first page is
// copied while it grows, so that a small list is small.
type pages[T any] struct {
	list [][]T
	n    uint32 // elements in use
}

// at returns a pointer to the element i. It is valid until the next push or
// pop.
func (p *pages[T]) at(i uint32) *T { return &p.list[i/pageLen][i%pageLen] }

func (p *pages[T]) push(v T) {
	page, i := int(p.n/pageLen), int(p.n%pageLen)
	switch {
	case page == len(p.list) && page == 0:
		p.list = append(p.list, make([]T, 8))
	case page == len(p.list):
		p.list = append(p.list, make([]T, pageLen))
	case i == len(p.list[page]):
		larger := make([]T, 2*i)
		copy(larger, p.list[page])
		p.list[page] = larger
	}
	p.list[page][i] = v
	p.n++
}

// pop removes the last element. It keeps one empty page, or else a list whose
// length goes up and down at a border would allocate again and again.
func (p *pages[T]) pop() {
	p.n--
	if used := int(p.n+pageLen-1) / pageLen; len(p.list) > used+1 {
		p.list[used+1] = nil
		p.list = p.list[:used+1]
	}
}
