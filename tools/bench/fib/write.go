package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// write compares everybody who writes routes.
func write() bool {
	ok := true
	for _, n := range []int{*count, *big} {
		if n > 0 {
			ok = writeAll(n, n == *count) && ok
		}
	}
	return ok
}

// writeAll measures with n routes. Peers only take part with peers set: they
// would need minutes for half a million.
func writeAll(n int, peers bool) bool {
	ok := true
	fmt.Printf("writing %d routes: CPU as a multiple of pre-encoded buffers\n", n)
	fmt.Printf("%-15s %-8s %12s %12s", "kind", "", "ceiling", "hyperfib")
	if peers {
		for _, c := range contenders[1:] {
			fmt.Printf(" %18s", c.name)
		}
	}
	fmt.Println()
	for _, k := range kinds {
		ok = writeKind(k, n, peers) && ok
	}
	return ok
}

func writeKind(k kind, n int, peers bool) bool {
	l := newLab()
	defer l.close()
	defer halt()
	for _, table := range []int{89, 90, 91, 92, 93, 94} {
		l.fill(table)
	}
	fd := rawSocket(l)
	defer unix.Close(fd)
	b := [3]best{{}, {}, {}}
	for range *rounds {
		// The FIB must not run meanwhile: it would hear all of it.
		for op := range b {
			bufs := k.encode(l, 89, n, op, op != opAdd)
			runtime.GC()
			b[op].note("ceiling", blast(fd, bufs))
		}
		for op := range b {
			running(l).Sweep()
			runtime.GC()
			b[op].note("hyperfib fib", ours(l, k, n, op))
		}
		halt()
	}
	if peers {
		for _, c := range contenders[1:] {
			if !c.can(k) {
				continue
			}
			m := min(n, *slow)
			for op := range b {
				runtime.GC()
				if d := c.do(l, k, m, op); d > 0 {
					b[op].note(c.name, time.Duration(float64(d)*float64(n)/float64(m)))
				}
			}
		}
	}
	return report(k, n, b, peers)
}

func report(k kind, n int, b [3]best, peers bool) bool {
	var sumOurs, sumTop time.Duration
	for op := range b {
		top := b[op]["ceiling"]
		sumOurs, sumTop = sumOurs+b[op]["hyperfib fib"], sumTop+top
		fmt.Printf("%-15s %-8s %9.0fk/s %11.2fx", k.name, opNames[op], float64(n)/top.Seconds()/1000, b[op]["hyperfib fib"].Seconds()/top.Seconds())
		if peers {
			for _, c := range contenders[1:] {
				if d, ok := b[op][c.name]; ok {
					fmt.Printf(" %17.1fx", d.Seconds()/top.Seconds())
				} else {
					fmt.Printf(" %18s", "-")
				}
			}
		}
		fmt.Println()
	}
	return verdict(fmt.Sprintf("%s, %d: desired change to kernel, all three", k.name, n), sumOurs.Seconds()/sumTop.Seconds(), 1.6, "x")
}

// writer runs the package's own measurement of the writer without the map, which
// needs unexported names.
func writer() bool {
	test := os.Getenv("FIB_TEST")
	if test == "" {
		fmt.Println("writer: FIB_TEST is not set; use .ci/bench fib")
		return false
	}
	cmd := exec.Command(test, "-test.v", "-test.run", "^TestSpeed$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("HYPERFIB_BENCH=%d", *count))
	out, err := cmd.StdoutPipe()
	must(err)
	must(cmd.Start())
	fmt.Printf("the writer alone, %d routes\n", *count)
	ok := true
	for s := bufio.NewScanner(out); s.Scan(); {
		_, rest, _ := strings.Cut(s.Text(), ": ")
		if kind, ratio, found := strings.Cut(rest, " all: writer "); found {
			var x float64
			_, _ = fmt.Sscanf(ratio, "%fx", &x)
			ok = verdict(kind+": writer, add + replace + delete", x, 1.25, "x") && ok
		} else if strings.Contains(rest, "ceiling") {
			fmt.Println("  " + rest)
		}
	}
	return cmd.Wait() == nil && ok
}
