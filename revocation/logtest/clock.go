package logtest

import (
	"time"
)

func clockRules() []rule {
	return []rule{
		{"clocks", "an instance whose clock is wrong ends sessions too late, and must find it out", clocks},
		{"slow answers", "an instance that stood still must not take its clock for wrong", slowAnswers},
	}
}

// clocks has callers whose clocks are wrong.
func clocks(p *probe) {
	const notMuch = 10 * time.Second
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Hour} {
		p.offsets(func() time.Time { return time.Now().Add(-ahead) }, func(offset time.Duration) {
			p.expect((offset-ahead).Abs() < notMuch,
				"the log's clock is %v ahead of the caller's, and a Reading says %v", ahead, offset)
		})
	}
}

// slowAnswers has a caller who stands still before and after it looks at its
// clock. Then only a difference that is greater than that is certain.
func slowAnswers(p *probe) {
	const still = 30 * time.Millisecond
	var most time.Duration
	p.offsets(time.Now, func(offset time.Duration) { most = max(most, offset.Abs()) })
	slow := func() time.Time {
		p.pause(still)
		now := time.Now()
		p.pause(3 * still) // longer, so that the request is not in the middle
		return now
	}
	p.offsets(slow, func(offset time.Duration) {
		p.expect(offset.Abs() < most+still/4,
			"the clocks differ by at most %v, and when the caller is slow, a Reading says %v", most, offset)
	})
}

// offsets calls judge with what an instance that has a clock reads: from the
// beginning, when there is nothing new, and when there is.
func (p *probe) offsets(now func() time.Time, judge func(offset time.Duration)) {
	r := p.reader(p.openAt(now))
	r.owed = len(p.all()) // of other logs
	read := func() {
		got := r.read(10 * time.Millisecond)
		if !p.failed() {
			judge(got.ClockOffset)
		}
	}
	read()
	read()
	e := entry("one", 1)
	e.Until = in(3 * time.Hour) // by every clock
	p.append(r.log, e)
	read()
	read()
}
