package opaque

// A due is a place in the queue of a shard. An item may expire later than its
// due says, never earlier.
type due struct {
	over int64 // unix second
	slot ref
}

// The queue is a heap in which a place has four children: the item that expires
// first is in front. Each slot knows its place, so that a deleted item leaves
// the queue at once.
const children = 4

func (sh *shard) enqueue(r ref) {
	sh.queue.push(due{})
	sh.up(sh.queue.n-1, due{sh.slot(r).over(), r})
}

// requeue moves an item to where it belongs.
func (sh *shard) requeue(r ref) { sh.move(sh.slot(r).pos, due{sh.slot(r).over(), r}) }

// advance moves an item forward if it expires earlier than the queue says. If
// it expires later, it stays: the remover moves it when it gets to the front.
// So a touch is cheap.
func (sh *shard) advance(r ref) {
	if sl := sh.slot(r); sl.over() < sh.queue.at(sl.pos).over {
		sh.requeue(r)
	}
}

func (sh *shard) dequeue(r ref) {
	pos, last := sh.slot(r).pos, sh.queue.n-1
	d := *sh.queue.at(last)
	sh.queue.pop()
	if pos != last {
		sh.move(pos, d)
	}
}

// move puts d where it belongs, given that the place pos is free.
func (sh *shard) move(pos uint32, d due) {
	if pos > 0 && d.over < sh.queue.at((pos-1)/children).over {
		sh.up(pos, d)
		return
	}
	sh.down(pos, d)
}

func (sh *shard) up(pos uint32, d due) {
	for pos > 0 {
		parent := (pos - 1) / children
		p := *sh.queue.at(parent)
		if p.over <= d.over {
			break
		}
		sh.set(pos, p)
		pos = parent
	}
	sh.set(pos, d)
}

func (sh *shard) down(pos uint32, d due) {
	for {
		first := children*pos + 1
		if first >= sh.queue.n {
			break
		}
		least, over := first, sh.queue.at(first).over
		for i := first + 1; i < min(first+children, sh.queue.n); i++ {
			if o := sh.queue.at(i).over; o < over {
				least, over = i, o
			}
		}
		if over >= d.over {
			break
		}
		sh.set(pos, *sh.queue.at(least))
		pos = least
	}
	sh.set(pos, d)
}

func (sh *shard) set(pos uint32, d due) {
	*sh.queue.at(pos) = d
	sh.slot(d.slot).pos = pos
}
