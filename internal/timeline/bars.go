package timeline

import (
	"math"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// A bar is a span, or the part of it that is in the window, with its place.
type bar struct {
	span   rotation.Span
	x0, x1 float64 // from 0 to 1; place scales them to the width
}

// bars returns the part of a key's life that is between two instants. Spans of
// no length are left out: only the list of events shows them.
func bars(r *rotation.Row, from, until time.Time) []bar {
	var list []bar
	window := seconds(from, until)
	for _, s := range r.Spans {
		begin, end := s.From, s.Until
		if begin.Before(from) {
			begin = from
		}
		if end.IsZero() || end.After(until) {
			end = until
		}
		if end.After(begin) {
			list = append(list, bar{s, seconds(from, begin) / window, seconds(from, end) / window})
		}
	}
	return list
}

// place scales bars to width. A span that is too short to be seen gets the
// width least at the cost of its neighbours, because people look at a chart of
// 90 days to see how two keys overlap for an hour. Bars for which there is no
// room are left out.
func place(list []bar, width, least float64, whole bool) []bar {
	for i := range list {
		list[i].x0, list[i].x1 = list[i].x0*width, list[i].x1*width
		if whole {
			list[i].x0, list[i].x1 = math.Round(list[i].x0), math.Round(list[i].x1)
		}
	}
	spread(list, width, least)
	return slices.DeleteFunc(list, func(b bar) bool { return b.x1-b.x0 <= least/2 })
}

// spread pushes bars to the right until each has its least width, then back to
// the left until all are within width. So a bar moves no further than its
// neighbours need, and the order stays.
func spread(list []bar, width, least float64) {
	at := 0.0
	for i := range list {
		list[i].x0 = max(list[i].x0, at)
		list[i].x1 = max(list[i].x1, list[i].x0+least)
		at = list[i].x1
	}
	at = width
	for i := len(list) - 1; i >= 0; i-- {
		list[i].x1 = min(list[i].x1, at)
		list[i].x0 = max(0, min(list[i].x0, list[i].x1-least))
		at = list[i].x0
	}
}
