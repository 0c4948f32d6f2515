package world

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// Header returns the first line of a scenario: what kind of world it is played in.
func (c Config) Header() string {
	line := fmt.Sprintf("world seed %d hosts %d guests %d bfd %v", c.Seed, c.Hosts, c.Guests, c.BFD)
	if c.Sessions != "" {
		line += fmt.Sprintf(" sessions %s", c.Sessions)
	}
	if c.Begin > 0 {
		line += fmt.Sprintf(" begin %v", c.Begin)
	}
	if c.Strict {
		line += " strict on"
	}
	if c.Audit != 0 {
		line += fmt.Sprintf(" audit %v", c.Audit)
	}
	return line
}

// ParseScenario returns the world and the inputs of a scenario: its first input may be a line
// "world seed N hosts N guests N bfd INTERVAL". Comments and lines that begin with a tab, the
// outputs of an earlier run, are left out.
func ParseScenario(c Config, text string) (Config, []string, error) {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch words := strings.Fields(line); {
		case len(words) == 0 || words[0][0] == '#' || line[0] == '\t':
		case words[0] == "world":
			if err := c.parseHeader(words[1:]); err != nil {
				return c, nil, fmt.Errorf("%q: %w", line, err)
			}
		default:
			lines = append(lines, line)
		}
	}
	return c, lines, nil
}

func (c *Config) parseHeader(words []string) (err error) {
	if len(words)%2 != 0 {
		return errWords
	}
	for i := 0; i < len(words) && err == nil; i += 2 {
		v := words[i+1]
		switch words[i] {
		case "seed":
			c.Seed, err = strconv.ParseUint(v, 10, 64)
		case "hosts":
			c.Hosts, err = strconv.Atoi(v)
		case "guests":
			c.Guests, err = strconv.Atoi(v)
		case "bfd":
			c.BFD, err = time.ParseDuration(v)
		case "sessions":
			if c.Sessions = Sessions(v); !slices.Contains(sessionsOf, c.Sessions) {
				err = fmt.Errorf("sessions %q: want one of %v", v, sessionsOf)
			}
		case "strict":
			if c.Strict = v == "on"; !c.Strict {
				err = fmt.Errorf("strict %q: want on", v)
			}
		case "packets":
			if c.EveryPacket = v == "every"; !c.EveryPacket {
				err = fmt.Errorf("packets %q: want every", v)
			}
		case "audit":
			c.Audit, err = time.ParseDuration(v)
		case "begin":
			c.Begin, err = time.ParseDuration(v)
		default:
			err = errWords
		}
	}
	return err
}

// Play carries out the inputs of a scenario, each at its time, and ends after the last. progress
// is called now and then; it may be nil.
func (w *World) Play(lines []string, progress func()) error {
	for _, line := range lines {
		at, words, err := Split(line)
		if err != nil || len(words) == 0 {
			return fmt.Errorf("%q: %w", line, errWords)
		}
		w.Run(max(at, w.now), progress)
		if err := w.Do(words); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		if w.config.StopAtFirst && len(w.Violations) > 0 {
			return nil
		}
	}
	return nil
}

// Run lets time pass.
func (w *World) Run(until time.Duration, progress func()) {
	for w.next(until) {
		w.look()
		if progress != nil && w.ran%4096 == 0 {
			progress()
		}
		if w.config.StopAtFirst && len(w.Violations) > 0 {
			return
		}
	}
	w.catchUp()
	w.look()
}

// Shrink returns the fewest lines that still break the invariant which the first violation of a
// scenario was of, and for longer than the same bound.
func Shrink(c Config, lines []string, progress func(left int)) ([]string, error) {
	c.Trace, c.StopAtFirst = nil, true
	var first *Violation
	play := func(lines []string) error {
		w, err := New(c)
		if err != nil {
			return nil
		}
		if err := w.Play(lines, nil); err != nil || len(w.Violations) == 0 {
			return nil
		}
		v := w.Violations[0]
		if first == nil {
			first = &v
		}
		if !v.sameAs(*first) {
			return nil
		}
		if progress != nil {
			progress(len(lines))
		}
		return fmt.Errorf("%v", v)
	}
	short, err := scenario.Shrink(lines, play)
	if err == nil {
		return nil, fmt.Errorf("played again, the same lines do not fail: something decides that is not the seed")
	}
	return append(append([]string{c.Header()}, short...), "# "+err.Error()), nil
}
