package cli

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestColoured(t *testing.T) {
	marks := strings.NewReplacer(green, "<g>", yellow, "<y>", red, "<r>", plain, "<>")
	for _, c := range [][2]string{
		{"PEER  STATE        SINCE  BFD   \n::1   Established  1s     Down  \n::2   Idle         1s     off   Up\n",
			"PEER  STATE        SINCE  BFD   \n::1   <g>Established<>  1s     <r>Down<>  \n::2   <r>Idle<>         1s     off   Up\n"},
		{"NAME  STATE\nUp    refused: Down\nvm2   \n", "NAME  STATE\nUp    <r>refused:<> Down\nvm2   \n"},
		{"degraded\nbroken: no-session: domain Up\nnote: drained\n", "<y>degraded<>\n<r>broken:<> no-session: domain Up\nnote: drained\n"},
		{"", ""},
	} {
		got := marks.Replace(string(coloured([]byte(c[0]))))
		if got != c[1] {
			t.Errorf("%q:\n got %q\nwant %q", c[0], got, c[1])
		}
	}
}

// Colours are for terminals, unless NO_COLOR is set.
func TestColours(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if colours(w) || colours(&strings.Builder{}) || !colours(terminal) {
		t.Errorf("a pipe %v, no file %v, a terminal %v", colours(w), colours(&strings.Builder{}), colours(terminal))
	}
	t.Setenv("NO_COLOR", "1")
	if colours(terminal) {
		t.Error("NO_COLOR")
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if colours(terminal) {
		t.Error("a terminal without colours")
	}
}
