package timeline

import (
	"math"
	"slices"
	"time"
)

// A tick is an instant with a label on the axis.
type tick struct {
	at    time.Time
	label string
}

// A step is the distance between two ticks. It is in seconds or in months,
// because months and years are not all equally long.
type step struct {
	seconds int64
	months  int64
	chars   int // length of the longest label
}

const (
	day  = 24 * 60 * 60 // seconds
	week = 7 * day
)

// steps returns the distances that ticks can have, the shortest first.
func steps() [29]step {
	const hms, hm, month, year = 8, 6, 4, 4
	return [...]step{
		{1, 0, hms}, {5, 0, hms}, {15, 0, hms}, {30, 0, hms},
		{60, 0, hm}, {5 * 60, 0, hm}, {15 * 60, 0, hm}, {30 * 60, 0, hm},
		{1 * 3600, 0, hm}, {2 * 3600, 0, hm}, {3 * 3600, 0, hm}, {6 * 3600, 0, hm}, {12 * 3600, 0, hm},
		{day, 0, hm}, {2 * day, 0, hm}, {week, 0, hm}, {2 * week, 0, hm},
		{0, 1, month}, {0, 2, month}, {0, 3, month}, {0, 6, month},
		{0, 12, year}, {0, 24, year}, {0, 60, year}, {0, 120, year}, {0, 240, year}, {0, 600, year}, {0, 1200, year},
		{0, 6000, year},
	}
}

// ticks divides the window as finely as the labels allow. room returns the
// width of a label with so many characters, including the space around it.
func (c *chart) ticks(width float64, room func(chars int) float64) []tick {
	all := steps()
	for i, s := range all {
		if s.shortest()/seconds(c.From, c.Until)*width < room(s.chars) {
			continue
		}
		list := s.ticks(c.From, c.Until)
		if i == 0 || len(list) > 1 {
			return list
		}
		// One date says little; some of the finer ones may fit.
		finer := all[i-1]
		n := math.Ceil(room(finer.chars) / (finer.shortest() / seconds(c.From, c.Until) * width))
		var some []tick
		for group := range slices.Chunk(finer.ticks(c.From, c.Until), int(n)) {
			some = append(some, group[0])
		}
		if len(some) > len(list) {
			return some
		}
		return list
	}
	return nil
}

// shortest returns the shortest distance between two ticks, in seconds: a month
// can have 28 days.
func (s step) shortest() float64 {
	return float64(s.seconds + s.months*28*day)
}

// ticks returns the ticks of a window. If it contains none, its beginning gets
// a label.
func (s step) ticks(from, until time.Time) []tick {
	var list []tick
	for at := s.first(from); !at.After(until); at = s.next(at) {
		list = append(list, tick{at, s.label(at)})
	}
	if len(list) == 0 {
		list = append(list, tick{from, s.label(from)})
	}
	return list
}

// first returns the first tick at or after t. Weeks begin on Monday.
func (s step) first(t time.Time) time.Time {
	var at time.Time
	if s.months > 0 {
		y, m, _ := t.Date()
		n := int64(y)*12 + int64(m) - 1
		n -= n % s.months
		at = time.Date(int(n/12), time.Month(n%12+1), 1, 0, 0, 0, 0, time.UTC)
	} else {
		var monday int64
		if s.seconds >= week {
			monday = 4 * day // 5 January 1970
		}
		at = time.Unix(t.Unix()-(t.Unix()-monday)%s.seconds, 0).UTC() // after t, if t is before 1970
	}
	if at.Before(t) {
		at = s.next(at)
	}
	return at
}

func (s step) next(t time.Time) time.Time {
	if s.months > 0 {
		return t.AddDate(0, int(s.months), 0)
	}
	return time.Unix(t.Unix()+s.seconds, 0).UTC()
}

// label returns a short label. Only the first hour of a day shows the day, and
// only the first month of a year the year.
func (s step) label(t time.Time) string {
	switch {
	case s.months >= 12, s.months > 0 && t.Month() == time.January:
		return t.Format("2006")
	case s.months > 0:
		return t.Format("Jan")
	case s.seconds >= day, midnight(t):
		return t.Format("2 Jan")
	case s.seconds >= 60:
		return t.Format("15:04")
	}
	return t.Format(time.TimeOnly)
}
