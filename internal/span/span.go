// Package span writes and reads durations with their units, including days, as
// people write them in config files and on command lines: "90s", "20m", "12h",
// "30d", "1d12h".
//
// Use [Parse] and [Format]. Parse reads everything that Format writes, except
// negative durations. It refuses a number without a unit.
package span

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Day is 24 hours, also when a country changes its clocks.
const Day = 24 * time.Hour

const maxDays = uint64(math.MaxInt64 / Day)

// Format returns d in the largest units that hold it: "30d", "1d1h2m", "1h30m".
func Format(d time.Duration) string {
	if d < 0 {
		return "-" + Format(-max(d, -math.MaxInt64))
	}
	days := ""
	if d >= Day {
		days = strconv.FormatInt(int64(d/Day), 10) + "d"
		if d %= Day; d == 0 {
			return days
		}
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return days + s
}

// Parse reads a whole number of days, followed by whatever time.ParseDuration
// reads. Either may be left out.
func Parse(s string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, noUnit(s)
	}
	var total time.Duration
	rest := s
	if days, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 64)
		if err != nil || n > maxDays {
			return 0, bad(s)
		}
		total, rest = time.Duration(n)*Day, after
	}
	if rest != "" || s == "" {
		v, err := time.ParseDuration(rest)
		if err != nil || v < 0 || v > math.MaxInt64-total {
			return 0, bad(s)
		}
		total += v
	}
	return total, nil
}

// noUnit returns the error for a number without a unit, with the ways to write
// it.
func noUnit(s string) error {
	var with []string
	for _, unit := range [...]string{"s", "m", "h", "d"} {
		if _, err := Parse(s + unit); err == nil {
			with = append(with, s+unit)
		}
	}
	if len(with) == 0 {
		return bad(s)
	}
	last := len(with) - 1
	return fmt.Errorf("%q has no unit; write %s or %s", s, strings.Join(with[:last], ", "), with[last])
}

func bad(s string) error {
	return fmt.Errorf("%q is not a duration; write it like 90s, 20m, 12h or 30d", s)
}
