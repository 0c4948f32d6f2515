// Package mutant reads planted faults: patches that break this module in one place, so that
// a test can show that the simulator notices. A mutant is a file with a head, whose lines say
// what the fault is, and a unified diff below it. The code is never changed on disk: Overlay
// writes what "go build -overlay" takes.
package mutant

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Mutant is one planted fault.
type Mutant struct {
	// Name is that of the file, without ".patch".
	Name string
	Head Head

	file    string // where it was read from
	changes []change
}

// Head says what a mutant is. In the file each field is a line "Breaks: ...", and goes on in
// lines that begin with white space.
type Head struct {
	Breaks   string // what is wrong in the code
	Violates string // the rule: a row of the findings, a requirement, a section of an RFC
	Shows    string // what an operator sees in a network
	Needs    string // what has to happen before it shows
	// Noticed says which unit tests fail: "./bgp/fsm TestMachine, ./bgp TestPeer", or
	// "nothing in ./bgp/fsm, ./bgp" if those of these packages pass.
	Noticed string
}

// Read reads a mutant from a file.
func Read(file string) (*Mutant, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	m := &Mutant{Name: strings.TrimSuffix(filepath.Base(file), ".patch"), file: file}
	lines := strings.SplitAfter(string(b), "\n")
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	}
	diff := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "--- ") || strings.HasPrefix(l, "diff ") })
	if diff < 0 {
		return nil, fmt.Errorf("%s: no diff", file)
	}
	if m.Head, err = parseHead(lines[:diff]); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if m.changes, err = parse(lines[diff:], diff+1); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

// ReadAll reads all mutants of a directory, in the order of their names.
func ReadAll(dir string) (all []*Mutant, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		m, err := Read(f)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no *.patch", dir)
	}
	return all, nil
}

func parseHead(lines []string) (h Head, err error) {
	fields := map[string]*string{"Breaks": &h.Breaks, "Violates": &h.Violates, "Shows": &h.Shows, "Needs": &h.Needs, "Noticed": &h.Noticed}
	var field *string
	for i, l := range lines {
		text := strings.TrimSpace(l)
		switch {
		case text == "":
			continue
		case text != strings.TrimRight(l, "\r\n\t "): // indented
			if field == nil {
				return h, fmt.Errorf("line %d: continues nothing", i+1)
			}
			*field += " " + text
			continue
		}
		name, value, _ := strings.Cut(text, ":")
		if field = fields[name]; field == nil || *field != "" {
			return h, fmt.Errorf("line %d: field %q is unknown, or stands twice", i+1, name)
		}
		*field = strings.TrimSpace(value)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if *fields[name] == "" {
			return h, fmt.Errorf("the head lacks %s", name)
		}
	}
	return h, nil
}

// Packages returns the packages that the mutant changes, as "./bgp/fsm", sorted.
func (m *Mutant) Packages() (list []string) {
	for _, c := range m.changes {
		list = append(list, "./"+path.Dir(c.path))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Size returns how many lines the mutant removes or adds.
func (m *Mutant) Size() (n int) {
	for _, c := range m.changes {
		for _, h := range c.hunks {
			same := 0
			for _, l := range h.new {
				if slices.Contains(h.old, l) {
					same++
				}
			}
			n += max(len(h.old), len(h.new)) - same
		}
	}
	return n
}

// Overlay applies the mutant to the files of the module at root. It writes the changed files
// to dir, and with them the file whose name it returns, for the flag -overlay of "go build",
// "go test" and others. A patch that does not apply is an error that names file and line.
func (m *Mutant) Overlay(root, dir string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	replace := map[string]string{}
	for i, c := range m.changes {
		original := filepath.Join(root, filepath.FromSlash(c.path))
		before, err := os.ReadFile(original)
		if err != nil {
			return "", fmt.Errorf("%s: %w", m.file, err)
		}
		after, err := c.apply(string(before))
		if err != nil {
			return "", fmt.Errorf("%s: %w", m.file, err)
		}
		changed := filepath.Join(dir, m.Name+"."+strconv.Itoa(i)+".go")
		if err := os.WriteFile(changed, []byte(after), 0o600); err != nil {
			return "", err
		}
		replace[original] = changed
	}
	b, err := json.Marshal(struct{ Replace map[string]string }{replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, m.Name+".json")
	return overlay, os.WriteFile(overlay, b, 0o600)
}
