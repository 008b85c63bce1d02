package indextest_test

import (
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/devices/indextest"
)

func TestMemory(t *testing.T) {
	indextest.Run(t, func(_ *testing.T, now func() time.Time) devices.Index { return devices.NewMemory(now) })
}
