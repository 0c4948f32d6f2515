package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// output is the standard output of a command. It remembers the first error, after which it takes
// nothing more: what there is has no hole. [main] reports it when the command has ended, so that no
// command needs to look. A reader that has gone (EPIPE: `| head -1`) has what it wanted: that is
// no error to report. Mostly SIGPIPE ends the process before.
type output struct {
	to  io.Writer
	err error
}

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(p)
	if err == nil || errors.Is(err, unix.EPIPE) {
		return n, err
	}
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		err = file.Err // the name is /dev/stdout, which the user has redirected
	}
	o.err = fmt.Errorf("write stdout: %w", err)
	return n, o.err
}

// outputFile returns the file that w writes to, if it is one.
func outputFile(w io.Writer) (*os.File, bool) {
	if o, ok := w.(*output); ok {
		w = o.to
	}
	f, ok := w.(*os.File)
	return f, ok
}

// findings are the commands whose exit code 1 is something that they have found out. If it cannot be
// written the code is 2, as if it could not be found out.
var findings = []string{"check", "convert", "diff", "explain"}

// written returns the exit code of a command that has ended with code. If not all of what it printed
// could be written it reports that, and the code is that of a failure at least.
func (in invocation) written(o *output, command string, code int) int {
	if o.err == nil {
		return code
	}
	fmt.Fprintln(in.stderr, "hvrouter:", o.err)
	if slices.Contains(findings, command) {
		return max(code, exitUsage)
	}
	return max(code, exitFailed)
}
