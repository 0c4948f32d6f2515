package mutant

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// change is what a patch does to one file.
type change struct {
	path  string // in the module, with slashes
	hunks []hunk
}

// hunk is one place of a change: lines that are there, and what becomes of them.
type hunk struct {
	at       int      // line of the patch, for errors
	line     int      // line of the file at which old was when the patch was made
	old, new []string // each with its newline
}

var (
	hunkHeader = regexp.MustCompile(`^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@`)
	pathHeader = regexp.MustCompile(`^(?:---|\+\+\+) [ab]/(\S+)`)
)

// parse reads the changes of a unified diff from its first "---" line on. It takes what
// "diff -u" and "git diff" write about files that exist before and after, and nothing else.
// first is the number of the first line.
func parse(lines []string, first int) (changes []change, err error) {
	for i := 0; i < len(lines); {
		n, l := first+i, lines[i]
		switch {
		case strings.HasPrefix(l, "diff "), strings.HasPrefix(l, "index "):
			i++
		case strings.HasPrefix(l, "--- "):
			c := change{path: pathOf(l)}
			if i+1 == len(lines) || c.path == "" || pathOf(lines[i+1]) != c.path {
				return nil, fmt.Errorf("line %d: not a change of one file: want --- a/PATH and +++ b/PATH", n)
			}
			changes = append(changes, c)
			i += 2
		case strings.HasPrefix(l, "@@ ") && len(changes) > 0:
			h, used, err := parseHunk(lines[i:], n)
			if err != nil {
				return nil, err
			}
			c := &changes[len(changes)-1]
			c.hunks = append(c.hunks, h)
			i += used
		default:
			return nil, fmt.Errorf("line %d: want a hunk or a file, not %q", n, strings.TrimSpace(l))
		}
	}
	for _, c := range changes {
		if len(c.hunks) == 0 {
			return nil, fmt.Errorf("%s: no hunk", c.path)
		}
	}
	return changes, nil
}

func pathOf(line string) string {
	if m := pathHeader.FindStringSubmatch(line); m != nil {
		return m[1]
	}
	return ""
}

// parseHunk reads a hunk whose header is lines[0], and returns how many lines it has.
func parseHunk(lines []string, at int) (h hunk, used int, err error) {
	m := hunkHeader.FindStringSubmatch(lines[0])
	if m == nil {
		return h, 0, fmt.Errorf("line %d: bad hunk header", at)
	}
	h.at = at
	h.line, _ = strconv.Atoi(m[1])
	before, after := length(m[2]), length(m[4])
	for used = 1; before > 0 || after > 0; used++ {
		if used == len(lines) || lines[used] == "" {
			return h, 0, fmt.Errorf("line %d: the hunk ends early", at+used)
		}
		sign, text := lines[used][0], lines[used][1:]
		if sign == '\n' { // an empty line whose space an editor has cut off
			sign, text = ' ', "\n"
		}
		if sign != ' ' && sign != '-' && sign != '+' {
			return h, 0, fmt.Errorf("line %d: the hunk ends early", at+used)
		}
		if sign != '+' {
			h.old = append(h.old, text)
			before--
		}
		if sign != '-' {
			h.new = append(h.new, text)
			after--
		}
	}
	if before < 0 || after < 0 {
		return h, 0, fmt.Errorf("line %d: the hunk is longer than its header says", at+used)
	}
	if len(h.old) == 0 {
		return h, 0, fmt.Errorf("line %d: a hunk without a line that is there already fits anywhere", at)
	}
	return h, used, nil
}

// length is a count of a hunk header: left out, it is 1.
func length(s string) int {
	if s == "" {
		return 1
	}
	n, _ := strconv.Atoi(s)
	return n
}

// apply makes the change to the content of its file. The old lines of each hunk must be there
// to the letter, after those of the hunk before: at the line that the hunk names or, if lines
// have come or gone above, at the only place that has them.
func (c *change) apply(content string) (string, error) {
	lines := strings.SplitAfter(content, "\n")
	var out []string
	done := 0 // lines that are in out
	for _, h := range c.hunks {
		at, err := h.find(lines, done)
		if err != nil {
			return "", fmt.Errorf("%s:%d: %w (hunk at line %d of the patch)", c.path, h.line, err, h.at)
		}
		out = append(append(out, lines[done:at]...), h.new...)
		done = at + len(h.old)
	}
	return strings.Join(append(out, lines[done:]...), ""), nil
}

// find returns the index of the first of the old lines, at or after from.
func (h *hunk) find(lines []string, from int) (int, error) {
	if i := h.line - 1; i >= from && h.fits(lines, i) {
		return i, nil
	}
	found := -1
	for i := from; i+len(h.old) <= len(lines); i++ {
		switch {
		case !h.fits(lines, i):
		case found >= 0:
			return 0, fmt.Errorf("the old lines are at lines %d and %d, and not where the patch says", found+1, i+1)
		default:
			found = i
		}
	}
	if found < 0 {
		return 0, fmt.Errorf("the old lines are not there; the first is %q", strings.TrimSpace(h.old[0]))
	}
	return found, nil
}

func (h *hunk) fits(lines []string, i int) bool {
	if i+len(h.old) > len(lines) {
		return false
	}
	for n, l := range h.old {
		if lines[i+n] != l {
			return false
		}
	}
	return true
}
