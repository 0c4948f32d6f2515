package matrix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/report"
)

// NotHere is the lab's exit code for a configuration that this machine cannot run.
const NotHere = 3

// standstill is how long the machine may stand still before what failed meanwhile
// deserves a second try.
const standstill = 40 * time.Millisecond

// runner runs configurations in labs of their own.
type runner struct {
	ctx  context.Context
	dir  string // for reports
	logs string // for logs of what failed; "" keeps none
	more []string
	// tries is how often what failed may be run.
	tries int
}

// Main runs the matrix and returns the exit code: 0 if no cell failed.
func Main(args []string) int {
	fs := flag.NewFlagSet("lab matrix", flag.ContinueOnError)
	core := fs.Bool("core", false, "run only "+strings.Join(Core, ", "))
	only := fs.String("only", "", "run only configurations whose `name` contains one of these words, comma separated")
	experiments := fs.String("experiments", "", "run only these `experiments`, comma separated")
	fs.Func("acts", "its name is -experiments now", func(string) error { return errors.New("its name is -experiments now") })
	list := fs.Bool("list", false, "list the configurations")
	times := fs.String("times", "1", "multiply the limits of times")
	tries := fs.Int("tries", 1, "run what failed again, until it was run this `many` times; the table names it")
	file := fs.String("json", "", "write the table to this `file`")
	logs := fs.String("logs", "", "keep logs of configurations that failed in this `directory`")
	if err := fs.Parse(args); err != nil || fs.NArg() > 0 {
		return 2
	}
	configs := choose(All(), *only)
	if *list {
		for _, c := range configs {
			fmt.Println(strings.Join(c.Args, " "))
		}
		return 0
	}
	var chosen []string
	switch {
	case *experiments != "":
		chosen = strings.Split(*experiments, ",")
	case *core:
		chosen = Core
	}
	dir, err := os.MkdirTemp("", "lab-matrix")
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab matrix:", err)
		return 2
	}
	defer os.RemoveAll(dir)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	r := runner{ctx: ctx, dir: dir, logs: *logs, more: []string{"-times", *times}, tries: *tries}
	rows := r.all(configs, chosen)
	if *file != "" {
		if err := write(*file, rows); err != nil {
			fmt.Fprintln(os.Stderr, "lab matrix:", err)
			return 2
		}
	}
	for _, row := range rows {
		if len(row.failed()) > 0 {
			return 1
		}
	}
	if ctx.Err() != nil || len(rows) == 0 {
		return 2
	}
	return 0
}

// choose keeps the configurations with one of the words in their name. A word that
// is a name is that one alone.
func choose(all []Config, words string) []Config {
	if words == "" {
		return all
	}
	if i := slices.IndexFunc(all, func(c Config) bool { return c.Name == words }); i >= 0 {
		return all[i : i+1] // two kinds of reflectors have a comma in their name
	}
	wanted := func(c Config, word string) bool {
		if slices.ContainsFunc(all, func(o Config) bool { return o.Name == word }) {
			return c.Name == word
		}
		return strings.Contains(c.Name, word)
	}
	var out []Config
	for _, c := range all {
		if slices.ContainsFunc(strings.Split(words, ","), func(word string) bool { return wanted(c, word) }) {
			out = append(out, c)
		}
	}
	return out
}

func (r *runner) all(configs []Config, experiments []string) (rows []Row) {
	start := time.Now()
	t := newTable(os.Stdout, configs, columns(experiments))
	t.head()
	for _, c := range configs {
		if r.ctx.Err() != nil {
			break
		}
		row := r.one(c, experiments)
		t.row(row)
		rows = append(rows, row)
	}
	t.notes(rows)
	failed := 0
	for _, row := range rows {
		failed += len(row.failed())
	}
	fmt.Printf("\n%d configurations, %d cells failed, %.0f s\n", len(rows), failed, time.Since(start).Seconds())
	return rows
}

// one runs a configuration, and again what failed: as often as was asked for, and
// once more in any case if the machine stood still meanwhile.
func (r *runner) one(c Config, experiments []string) Row {
	stall := flow.WatchStall(func() {})
	row := r.run(c, experiments)
	tries := r.tries
	if stall.Stop() > standstill {
		tries = max(tries, 2)
	}
	for range tries - 1 {
		failed := row.failed()
		if len(failed) == 0 || r.ctx.Err() != nil {
			break
		}
		if row.Cells[lab] != "" { // it did not come to any of them
			next := r.run(c, experiments)
			next.Again, next.Earlier = []string{lab}, append(row.Earlier, row.Why...)
			row = next
			continue
		}
		row.replace(r.run(c, failed), failed)
	}
	return row
}

// lab is the column of a lab that did not come to its experiments; no experiment is called so.
const lab = "lab"

func (r *runner) run(c Config, experiments []string) Row {
	file := filepath.Join(r.dir, "report.json")
	_ = os.Remove(file)
	only := "all"
	if len(experiments) > 0 {
		only = strings.Join(experiments, ",")
	}
	args := append(append([]string{"-json", file, "-only", only}, r.more...), c.Args...)
	logs := ""
	if r.logs != "" {
		logs = filepath.Join(r.logs, strings.NewReplacer(" ", "-", "@", "", ",", "-").Replace(c.Name))
		args = append(args, "-logs", logs)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(r.ctx, "/proc/self/exe", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	row, bad := read(c.Name, file)
	if bad != nil {
		return died(c.Name, err, out.String(), columns(experiments))
	}
	if logs != "" && len(row.failed()) == 0 {
		_ = os.RemoveAll(logs)
	} else if logs != "" {
		_ = os.WriteFile(filepath.Join(logs, "output"), out.Bytes(), 0o644)
	}
	return row
}

func read(name, file string) (Row, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return Row{}, err
	}
	var rep report.Report
	if err := json.Unmarshal(b, &rep); err != nil {
		return Row{}, err
	}
	return fold(name, rep), nil
}

// died is the row of a lab that wrote no report.
func died(name string, err error, out string, experiments []string) Row {
	cell, note := Failed, strings.Split(strings.TrimSpace(out), "\n")
	row := Row{Config: name, Cells: map[string]Cell{}}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == NotHere {
		cell = Nowhere
		row.Lacks = note[len(note)-1:]
	} else {
		row.Why = append(note[max(0, len(note)-6):], fmt.Sprint(err))
		row.Cells[lab] = cell
	}
	for _, a := range experiments {
		row.Cells[a] = cell
	}
	return row
}

func write(file string, rows []Row) error {
	b, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
