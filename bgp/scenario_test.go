package bgp

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden scenarios in testdata")

// epoch is when every scenario begins. Nothing depends on the date.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world is a pure state machine under test, seen by a scenario.
type world interface {
	// do carries out one line (without its time) and returns what came out.
	do(now time.Time, line string) (string, error)
	// next is the machine's next deadline, fire runs what is due.
	next() time.Time
	fire(now time.Time) string
}

// runScenarios plays every file of testdata/dir. A line "+3s words" happens three
// seconds after the start; timers that are due before it fire first. What the
// machine does stands below in lines that begin with a tab, and is compared.
func runScenarios(t *testing.T, dir string, create func() world) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios in %s: %v", dir, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			old, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, name, string(old), play(t, string(old), create()))
		})
	}
}

// compare checks got against the golden text, or rewrites it.
func compare(t *testing.T, name, want, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			t.Fatalf("%s:%d: want %q, got %q", name, i+1, line(w, i), line(g, i))
		}
	}
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(end)"
}

func play(t *testing.T, text string, w world) string {
	t.Helper()
	var out strings.Builder
	for _, l := range strings.SplitAfter(text, "\n") {
		if strings.HasPrefix(l, "\t") {
			continue
		}
		out.WriteString(l)
		l, _, _ = strings.Cut(l, "#")
		at, words, ok := strings.Cut(strings.TrimSpace(l), " ")
		if !ok {
			continue
		}
		if !strings.HasPrefix(at, "+") {
			if res, err := w.do(epoch, at+" "+words); err != nil || res != "" {
				t.Fatalf("%q: %q, %v", l, res, err)
			}
			continue
		}
		d, err := time.ParseDuration(at[1:])
		if err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		now := epoch.Add(d)
		timers := pass(w, now)
		res, err := w.do(now, words)
		if err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		insertTimers(&out, timers)
		if res != "" {
			fmt.Fprintf(&out, "\t%s\n", res)
		}
	}
	return out.String()
}

// pass fires the timers up to now.
func pass(w world, now time.Time) (lines []string) {
	for {
		at := w.next()
		if at.IsZero() || at.After(now) {
			return lines
		}
		lines = append(lines, fmt.Sprintf("\t(+%v) %s\n", at.Sub(epoch), w.fire(at)))
		if len(lines) > 1000 {
			return append(lines, "\ttimer storm\n")
		}
	}
}

// insertTimers puts what timers did before the line at whose time they were
// noticed.
func insertTimers(out *strings.Builder, timers []string) {
	if len(timers) == 0 {
		return
	}
	text := strings.TrimSuffix(out.String(), "\n")
	head, last := "", text
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		head, last = text[:i+1], text[i+1:]
	}
	out.Reset()
	out.WriteString(head + strings.Join(timers, "") + last + "\n")
}
