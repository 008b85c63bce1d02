package instant_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/instant"
)

func TestOrder(t *testing.T) {
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	require.Equal(t, early, instant.Earliest(late, early, late))
	require.Equal(t, late, instant.Latest(early, late, early))
	require.Equal(t, early, instant.Earliest(early))
}

func TestMaxSecond(t *testing.T) {
	last := time.Unix(instant.MaxSecond, 0).UTC()
	require.Equal(t, "9999-12-31T23:59:59Z", last.Format(time.RFC3339))
}
