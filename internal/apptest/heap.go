package apptest

import (
	"runtime"
	"time"
)

// Heap returns how many bytes are in use, once everything else was collected.
func Heap() int64 {
	runtime.GC()
	runtime.GC() // for what is pooled
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Collection returns how long a garbage collection takes, the best of five.
func Collection() time.Duration {
	best := time.Hour
	for range 5 {
		start := time.Now()
		runtime.GC()
		best = min(best, time.Since(start))
	}
	return best
}
