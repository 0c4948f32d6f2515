package confirm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// bench plays testdata/*.txt: a Core with a disk and a daemon. The inputs:
//
//	reload TEXT [WINDOW]   a configuration comes as a file of its own
//	confirm, cancel
//	disk full|fine         whether what is written from now on is an error
//	dies                   the daemon ends without a word, and is started again
//	dies in N              the same, after N more effects
//	show                   what counts, what a start finds, what waits
type bench struct {
	core    Core
	counts  string // in the daemon
	file    string // the configuration's
	record  *Record
	full    bool
	left    int // effects until it dies; 0: it does not
	out     []string
	trouble error // of the last input, as its caller hears it
	now     time.Time
}

func newBench() *bench { return &bench{counts: "a", file: "a"} }

func (b *bench) Deadline() time.Time { return b.core.Deadline() }

func (b *bench) Advance(now time.Time) []string {
	b.out, b.now = nil, now
	b.carryOut(now, b.core.Advance(now))
	return b.out
}

func (b *bench) Do(now time.Time, words []string) ([]string, error) {
	b.out, b.trouble, b.now = nil, nil, now
	if len(words) == 0 {
		return nil, nil
	}
	var fx []Effect
	switch words[0] {
	case "reload":
		r := Record{Name: words[1] + ".yaml", Old: b.counts, New: words[1]}
		if len(words) > 2 {
			var err error
			if r.Window, err = time.ParseDuration(words[2]); err != nil {
				return nil, err
			}
		}
		fx, b.trouble = b.core.Begin(now, r)
	case "confirm":
		fx, b.trouble = b.core.Confirm(now)
	case "cancel":
		fx, b.trouble = b.core.Cancel(now)
	case "disk":
		b.full = words[1] == "full"
	case "dies":
		if len(words) > 2 {
			_, err := fmt.Sscan(words[2], &b.left)
			return nil, err
		}
		b.starts(now)
	case "show":
		b.show(now)
	default:
		return nil, fmt.Errorf("unknown word")
	}
	b.carryOut(now, fx)
	if b.trouble != nil {
		b.out = append(b.out, "refused: "+b.trouble.Error())
	}
	return b.out, nil
}

func (b *bench) show(now time.Time) {
	line := fmt.Sprintf("%s counts, a start finds %s, the file is %s", b.counts, b.found(), b.file)
	if r, left, ok := b.core.Waiting(now); ok {
		line += fmt.Sprintf(", %s waits for %v more", r.Name, left)
	}
	if err := b.core.Busy(now); err != nil {
		line += "; " + err.Error()
	}
	b.out = append(b.out, line)
}

// found returns what a start finds.
func (b *bench) found() string {
	if b.record != nil {
		return b.record.Counts()
	}
	return b.file
}

// starts is a daemon that starts after the one before has died.
func (b *bench) starts(now time.Time) {
	b.core, b.left = Core{}, 0
	b.counts = b.found()
	b.out = append(b.out, "started with "+b.counts)
	if b.record != nil {
		b.carryOut(now, b.core.Recover(now, *b.record))
	}
}

func (b *bench) carryOut(now time.Time, fx []Effect) {
	for len(fx) > 0 {
		if b.left > 0 {
			if b.left--; b.left == 0 {
				b.trouble = errors.New("the daemon died")
				b.starts(now)
				return
			}
		}
		e := fx[0]
		fx = fx[1:]
		switch e.Action {
		case Save, Install:
			fx = append(fx, b.core.Written(now, b.write(e))...)
		case Apply:
			b.counts = map[bool]string{true: b.core.record.Old, false: b.core.record.New}[e.Old]
			b.out = append(b.out, "apply "+b.counts)
		case Report:
			line := e.News.String()
			if e.Left > 0 {
				line += fmt.Sprintf(" %v left", e.Left)
			}
			if e.Why != "" {
				line += ": " + e.Why
			}
			if e.Err != nil {
				line += ": " + e.Err.Error()
			}
			b.out = append(b.out, line)
		}
	}
}

func (b *bench) write(e Effect) error {
	line := fmt.Sprintf("save %s over %s", e.Record.New, e.Record.Old)
	if e.Record.Confirmed {
		line += ", confirmed"
	}
	if e.Action == Install {
		line = "install " + e.Record.Counts()
	}
	if b.full {
		b.out = append(b.out, line+": no space left")
		if e.Action == Save {
			b.trouble = errors.New("no space left")
		}
		return errors.New("no space left")
	}
	b.out = append(b.out, line)
	if e.Action == Save {
		r := e.Record
		b.record = &r
	} else {
		b.file, b.record = e.Record.Counts(), nil
	}
	return nil
}

func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(_ *testing.T, text string) (string, error) { return scenario.Play(text, newBench()) })
}

// judge plays inputs and checks after each of them that what counts is what was confirmed last,
// or what waits: whatever fails, whenever the daemon dies.
type judge struct {
	*bench
	safe    string    // counts for good: what counts in the end unless something is confirmed
	trial   string    // waits; "": nothing
	until   time.Time // it is rolled back
	unclear string    // might have become safe: the daemon died while it was confirmed
	err     error
}

func (j *judge) Advance(now time.Time) []string {
	out := j.bench.Advance(now)
	if strings.Contains(strings.Join(out, "\n"), "started with") {
		j.trial = ""
	}
	j.check(now)
	return out
}

func (j *judge) Do(now time.Time, words []string) ([]string, error) {
	j.check(now)
	out, err := j.bench.Do(now, words)
	if err != nil || len(words) == 0 {
		return out, err
	}
	died := strings.Contains(strings.Join(out, "\n"), "started with")
	switch words[0] {
	case "reload":
		switch {
		case j.trouble != nil && !died:
		case len(words) > 2 && !died:
			j.trial = words[1]
			d, _ := time.ParseDuration(words[2])
			j.until = now.Add(d)
		case died && len(words) == 2:
			j.unclear = words[1]
		case !died:
			j.safe = words[1]
		}
	case "confirm":
		if j.trouble == nil {
			j.safe, j.trial = j.trial, ""
		} else if died {
			j.unclear, j.trial = j.trial, ""
		}
	case "cancel":
		if j.trouble == nil {
			j.trial = ""
		}
	}
	if died {
		if j.trial = ""; j.unclear != "" && j.counts == j.unclear {
			j.safe = j.unclear
		}
		j.unclear = ""
	}
	j.check(now)
	return out, nil
}

func (j *judge) check(now time.Time) {
	if j.trial != "" && !now.Before(j.until) {
		j.trial = ""
	}
	want := j.safe
	if j.trial != "" {
		want = j.trial
	}
	if j.err == nil && (j.counts != want || j.found() != j.safe && j.record != nil) {
		j.err = fmt.Errorf("%v: %s counts, want %s; a start would find %s, want %s", now.Sub(scenario.Epoch), j.counts, want, j.found(), j.safe)
	}
	if _, left, ok := j.core.Waiting(now); j.err == nil && ok != (j.trial != "") {
		j.err = fmt.Errorf("%v: waits: %v for %v, want %v", now.Sub(scenario.Epoch), ok, left, j.trial != "")
	}
}

// TestSearch: reloads, confirmations, a disk that fails and a daemon that dies, at random.
func TestSearch(t *testing.T) {
	scenario.Search{Seeds: 400, Inputs: randomTrials, Play: func(_ *testing.T, inputs []string) error {
		j := &judge{bench: newBench(), safe: "a"}
		if _, err := scenario.Play(strings.Join(inputs, "\n")+"\n+2h disk fine\n+3h\n", j); err != nil {
			return err
		}
		if j.err == nil && (j.record != nil || j.file != j.safe) {
			return fmt.Errorf("in the end the file is %s, want %s, and the record %v", j.file, j.safe, j.record)
		}
		return j.err
	}}.Run(t)
}

func randomTrials(r *rand.Rand) (lines []string) {
	at := time.Duration(0)
	for range 3 + r.IntN(20) {
		at += time.Duration(r.IntN(40)) * time.Second
		line := fmt.Sprintf("+%v ", at)
		switch n := r.IntN(10); n {
		case 0, 1:
			line += fmt.Sprintf("reload %c %ds", 'a'+r.IntN(5), 1+r.IntN(90))
		case 2:
			line += fmt.Sprintf("reload %c", 'a'+r.IntN(5))
		case 3, 4:
			line += "confirm"
		case 5:
			line += "cancel"
		case 6:
			line += "dies"
		case 7:
			line += fmt.Sprintf("dies in %d", 1+r.IntN(5))
		default:
			line += []string{"disk full", "disk fine"}[n-8]
		}
		lines = append(lines, line)
	}
	return lines
}

// Whether a confirmation comes in time is decided by the clock, not by who gets the lock first.
func TestConfirmTooLate(t *testing.T) {
	for _, late := range []time.Duration{-1, 0, time.Hour} {
		var c Core
		begin := time.Unix(1e9, 0)
		if _, err := c.Begin(begin, Record{Old: "a", New: "b", Window: time.Minute}); err != nil {
			t.Fatal(err)
		}
		c.Written(begin, nil)
		at := begin.Add(time.Minute + late)
		fx, err := c.Confirm(at)
		if (err != nil) != (late >= 0) {
			t.Errorf("%v after the deadline: %v, %v", late, fx, err)
		}
		if fx := c.Advance(at); late >= 0 && (len(fx) == 0 || !fx[0].Old) {
			t.Errorf("%v after the deadline: not rolled back: %+v", late, fx)
		}
	}
}
