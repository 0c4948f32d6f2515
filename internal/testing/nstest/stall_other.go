//go:build !linux

package nstest

import "time"

// There are no namespaces to test in: these only let tests compile.

func processors() []int { return []int{0} }

func pin(int) {}

func sleep(d time.Duration) { time.Sleep(d) }
