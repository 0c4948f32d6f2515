package scenario

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// Epoch is when every scenario starts: the time at which a bubble of testing/synctest
// starts, too.
var Epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Machine is what a scenario drives. A machine without timers, or one that lives in a
// bubble of testing/synctest and sleeps until now itself, is only this.
type Machine interface {
	// Do carries out the input in words at now, and returns the outputs, a line each.
	// It is called without words where the scenario only lets time pass. The error
	// says that the scenario is wrong, for example an unknown word.
	Do(now time.Time, words []string) ([]string, error)
}

// Clock is a Machine with timers.
type Clock interface {
	Machine
	// Deadline returns the time at which Advance has something to do. The zero time
	// says never.
	Deadline() time.Time
	// Advance does what is due at now and returns the outputs, a line each.
	Advance(now time.Time) []string
}

// Files plays each file that matches pattern in a subtest of its own. The function play
// returns the text with its outputs, usually by calling [Play] with a fresh machine.
func Files(t *testing.T, pattern string, play func(t *testing.T, text string) (string, error)) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios match %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := play(t, string(text))
			if err != nil {
				t.Fatalf("%s:%v", file, err)
			}
			Golden(t, file, got)
		})
	}
}

// Golden compares got with the content of file and reports the first line that differs.
// With -update it writes got into file.
func Golden(t testing.TB, file, got string) {
	t.Helper()
	GoldenLines(t, file, got, func(line string) string { return line })
}

// GoldenLines is like [Golden], but compares only what part returns of each line: the
// rest is written with -update for people to read, and may be different elsewhere.
func GoldenLines(t testing.TB, file, got string, part func(line string) string) {
	t.Helper()
	if Updating() {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w, g := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if a, b := at(w, i), at(g, i); part(a) != part(b) {
			t.Fatalf("%s:%d: want %q, got %q (-update rewrites the file; read the diff)", file, i+1, a, b)
		}
	}
}

// Updating reports whether -update was given.
func Updating() bool { return *update }

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(end of file)"
}

// Play plays text against m and returns it with its outputs. An error begins with the
// number of the line it is about.
func Play(text string, m Machine) (string, error) {
	p := player{machine: m, now: Epoch}
	p.clock, _ = m.(Clock)
	for line := range strings.Lines(text) {
		p.line++
		if strings.HasPrefix(line, "\t") {
			continue // an output of an earlier run
		}
		if err := p.input(line); err != nil {
			return "", fmt.Errorf("%d: %q: %w", p.line, strings.TrimSpace(line), err)
		}
	}
	p.fold()
	return p.out.String(), nil
}

// timers is how many deadlines may fall between two inputs. A machine that has more
// sets a timer to the past again and again.
const timers = 1_000_000

type player struct {
	machine Machine
	clock   Clock // nil if the machine has no timers
	now     time.Time
	line    int
	out     strings.Builder
	// Comments and empty lines since the last input: they stay with the next one, below
	// what timers do until then.
	aside strings.Builder
	// A timer's output that may repeat itself.
	last        string
	lastAt      time.Time
	more        int
	least, most time.Duration // between two of them
}

func (p *player) input(line string) error {
	words := strings.Fields(line)
	if len(words) == 0 || words[0][0] == '#' {
		p.aside.WriteString(line)
		if p.clock == nil {
			p.setAside()
		}
		return nil
	}
	now := p.now
	if after, ok := strings.CutPrefix(words[0], "+"); ok {
		d, err := time.ParseDuration(after)
		if err != nil {
			return err
		}
		if now, words = Epoch.Add(d), words[1:]; now.Before(p.now) {
			return fmt.Errorf("earlier than the input before it")
		}
	}
	if err := p.pass(now); err != nil {
		return err
	}
	p.now = now
	p.setAside()
	p.out.WriteString(strings.TrimSuffix(line, "\n") + "\n")
	outputs, err := p.machine.Do(now, words)
	for _, o := range outputs {
		fmt.Fprintf(&p.out, "\t%s\n", o)
	}
	return err
}

// setAside writes the comments that were kept back.
func (p *player) setAside() {
	p.fold()
	p.out.WriteString(p.aside.String())
	p.aside.Reset()
}

// pass lets time pass until now.
func (p *player) pass(now time.Time) error {
	if p.clock == nil {
		return nil
	}
	for range timers {
		due := p.clock.Deadline()
		if due.IsZero() || due.After(now) {
			return nil
		}
		if due.Before(p.now) {
			due = p.now // set by an input, for a time that has passed
		}
		for _, o := range p.clock.Advance(due) {
			p.timer(due, o)
		}
	}
	return fmt.Errorf("%d timers, and time still stands at %v", timers, p.clock.Deadline().Sub(Epoch))
}

// timer writes an output of a timer, or counts it.
func (p *player) timer(due time.Time, output string) {
	if gap := due.Sub(p.lastAt); p.last == output {
		if p.more++; p.more == 1 {
			p.least, p.most = gap, gap
		}
		p.least, p.most, p.lastAt = min(p.least, gap), max(p.most, gap), due
		return
	}
	p.fold()
	fmt.Fprintf(&p.out, "\t+%v %s\n", due.Sub(Epoch), output)
	p.last, p.lastAt = output, due
}

// fold writes how often the last output of a timer came again.
func (p *player) fold() {
	switch {
	case p.more == 0:
	case p.least == p.most:
		fmt.Fprintf(&p.out, "\t... %d more, %v apart\n", p.more, p.least)
	default:
		fmt.Fprintf(&p.out, "\t... %d more, %v to %v apart\n", p.more, p.least, p.most)
	}
	p.last, p.more = "", 0
}

// Document compares the part of a document that stands between the markers of command and its end
// with what was generated; with -update it writes it.
func Document(t testing.TB, file, command, generated string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- generated: "+command+" -->\n", "<!-- end -->"
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no part that is generated by %s", file, command)
	}
	want := before + begin + generated + end + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("%s is not of these sources: %s", file, command)
	}
}
