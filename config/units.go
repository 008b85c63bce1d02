package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/span"
)

// Duration is a time.Duration that is written with its units: "90s", "20m",
// "12h", "30d" (days of 24 hours), "1d12h". As text it is never negative or
// zero: to choose the default, leave the field out.
type Duration time.Duration

// UnmarshalText sets d from its text. It refuses a number without a unit.
func (d *Duration) UnmarshalText(text []byte) error {
	in := string(text)
	v, err := span.Parse(in)
	if n, isNumber := number(in); err == nil && v == 0 || isNumber && n == 0 {
		return zero(in)
	}
	if err == nil {
		*d = Duration(v)
	}
	return err
}

// MarshalText returns d as [Duration.String] does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns d in the largest units that hold it: "30d", "1h30m".
func (d Duration) String() string { return span.Format(time.Duration(d)) }

// Size is a number of bytes that is written with its unit: "512KiB", "64MiB",
// "2GiB", "4096B". As text it is never zero: to choose the default, leave the
// field out.
type Size int64

// units returns the units of a Size, the largest first. The order matters:
// String uses the first that fits, and for UnmarshalText every unit ends in the
// last one.
func units() []unit {
	return []unit{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
}

type unit struct {
	name  string
	bytes int64
}

// UnmarshalText sets s from its text. It refuses a number without a unit, and
// decimal units (MB), whose meaning is disputed.
func (s *Size) UnmarshalText(text []byte) error {
	in := string(text)
	if n, ok := number(in); ok && n == 0 {
		return zero(in)
	} else if _, err := strconv.ParseUint(in, 10, 32); err == nil {
		return fmt.Errorf("%q has no unit; write %[2]sKiB, %[2]sMiB or %[2]sGiB", in, in)
	}
	for _, u := range units() {
		digits, ok := strings.CutSuffix(in, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.bytes {
			break
		}
		if n == 0 {
			return zero(in)
		}
		*s = Size(int64(n) * u.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size; write it like 512KiB, 64MiB or 2GiB", in)
}

// MarshalText returns s as [Size.String] does.
func (s Size) MarshalText() ([]byte, error) {
	if s < 0 {
		return nil, errors.New("config: a negative Size can't be written")
	}
	return []byte(s.String()), nil
}

// String returns s in the largest unit that divides it: "64MiB".
func (s Size) String() string {
	for _, u := range units() {
		if n := int64(s); n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return "0B"
}

// number returns s as a number, if it is one without a unit.
func number(s string) (n float64, ok bool) {
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

func zero(s string) error {
	return fmt.Errorf("%q is zero; leave the field out for its default", s)
}
