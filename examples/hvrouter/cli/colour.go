package cli

import (
	"bytes"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// colours reports whether what is written to w may have colours: it is a terminal that has them, and
// NO_COLOR is not set (no-color.org).
func colours(w io.Writer) bool {
	f, ok := outputFile(w)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// The colours of a state: as it should be, on its way, and not.
const (
	green, yellow, red, plain = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
)

// stateColours are the colours of what stands in a column of states, by its first word.
var stateColours = map[string]string{
	"Established": green, "Up": green, "installed": green, "present": green, "reachable": green, "permanent": green, "healthy": green,
	"OpenSent": yellow, "OpenConfirm": yellow, "Connect": yellow, "Active": yellow, "Init": yellow, "AdminDown": yellow, "Disabled": yellow, "pending": yellow, "held": yellow, "partial": yellow,
	"stale": yellow, "incomplete": yellow, "delay": yellow, "probe": yellow, "absent": yellow, "down": yellow, "degraded": yellow, "unknown": yellow,
	"Idle": red, "Down": red, "failed": red, "foreign": red, "refused": red, "broken": red,
}

// coloured colours the states in a table: the cells below the headings STATE, BFD and
// KERNEL. A text without such a heading is a report, whose first words count.
func coloured(text []byte) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	columns := stateColumns(string(lines[0]))
	if columns == nil {
		columns = []int{0}
	}
	var b bytes.Buffer
	for _, line := range lines {
		at := 0
		for _, c := range columns {
			if c < at || c >= len(line) {
				continue
			}
			word := string(line[c:])
			if end := strings.IndexAny(word, " \n"); end >= 0 {
				word = word[:end]
			}
			if colour := stateColours[strings.TrimSuffix(word, ":")]; colour != "" {
				b.Write(line[at:c])
				b.WriteString(colour + word + plain)
				at = c + len(word)
			}
		}
		b.Write(line[at:])
	}
	return b.Bytes()
}

// stateColumns returns where the columns of states begin; nil if there is none.
func stateColumns(heading string) (at []int) {
	for i := 0; i < len(heading); {
		word := heading[i:]
		if end := strings.IndexAny(word, " \n"); end >= 0 {
			word = word[:end]
		}
		if word == "STATE" || word == "BFD" || word == "KERNEL" {
			at = append(at, i)
		}
		i += max(1, len(word))
	}
	return at
}
