package revocation

import (
	"context"
	"time"
)

// A page is the result of a Read of the log.
type page struct {
	Reading
	began time.Time // when Read was called
	err   error
}

// fetch reads the page at pos, or waits for it to arrive if it was read ahead.
func (f *feed) fetch(pos string, ahead <-chan page) page {
	if ahead != nil {
		return <-ahead
	}
	p := page{began: f.list.now()}
	ctx, cancel := context.WithTimeout(f.ctx, readWait+logTimeout)
	defer cancel()
	p.Reading, p.err = f.log.Read(ctx, pos, readWait)
	return p
}

// fetchAhead begins to read the page after p if there is more to read at once.
// It arrives while the list puts p in force. When an instance starts with a
// million entries, both take about as long.
func (f *feed) fetchAhead(p page) <-chan page {
	if p.err != nil || p.Lost || p.Complete || len(p.Entries) == 0 {
		return nil
	}
	ahead := make(chan page, 1)
	f.reading.Go(func() { ahead <- f.fetch(p.Next, nil) })
	return ahead
}
