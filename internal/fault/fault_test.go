package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/fault"
)

func TestError(t *testing.T) {
	err := fmt.Errorf("more: %w",
		fault.Errorf("session: Policy.IdleTimeout", "%v is longer than %s: %w", time.Hour, fault.Name("Policy.Lifetime"),
			io.EOF))
	require.EqualError(t, err, "more: session: Policy.IdleTimeout 1h0m0s is longer than Policy.Lifetime: EOF")
	require.ErrorIs(t, err, io.EOF)

	var of *fault.Error
	require.True(t, errors.As(err, &of))
	require.Equal(t, fault.Name("Policy.IdleTimeout"), of.Field)
	require.Equal(t, "an hour is longer than session.lifetime: EOF", of.In(func(arg any) any {
		switch arg := arg.(type) {
		case time.Duration:
			return "an hour"
		case fault.Name:
			return "session.lifetime"
		default:
			return arg
		}
	}))
	require.NoError(t, errors.Unwrap(fault.Errorf("token: CarrierConfig.Ring", "is required")))
}

func TestInner(t *testing.T) {
	ours := fmt.Errorf("keys: no key file: %w", io.EOF)
	require.EqualError(t, fmt.Errorf("config: the field is wrong: %w", fault.Inner(ours)),
		"config: the field is wrong: no key file: EOF")
	require.ErrorIs(t, fault.Inner(ours), ours)
	require.ErrorIs(t, fault.Inner(ours), io.EOF)
	require.Equal(t, io.EOF, fault.Inner(io.EOF))
	require.EqualError(t, fault.Inner(errors.New("open x: no such file")), "open x: no such file")
}

func TestMistakes(t *testing.T) {
	bad := fault.In("token: CarrierConfig")
	bad.Add(nil)
	bad.If(false, "Ring", "is required")
	require.NoError(t, bad.Err())
	bad.If(true, "MaxLength", "is %d: must be at most %d", 5, 4)
	bad.Add(fault.Errorf("token: CarrierConfig.Issuer", "is required"))
	require.EqualError(t, bad.Err(), "token: CarrierConfig.MaxLength is 5: must be at most 4\n"+
		"token: CarrierConfig.Issuer is required")
}
