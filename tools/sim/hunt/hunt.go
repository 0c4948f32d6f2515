package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/tools/sim/mutant"
)

// hunt is a search for faults.
type hunt struct {
	root     string // of the module
	dir      string // of what is built
	seeds    int
	parallel int
	all      bool
	limit    time.Duration
	world    []string // arguments of the simulator
	clean    *clean
}

// playClean plays all worlds without a fault.
func (h *hunt) playClean(ctx context.Context) error {
	sim, err := h.build(ctx, "clean")
	if err != nil {
		return err
	}
	outcomes, err := h.play(ctx, sim, nil)
	if err != nil {
		return err
	}
	h.clean = newClean(outcomes)
	fmt.Printf("without a fault: violations in %d of %d worlds\n", h.clean.failed, h.seeds)
	return nil
}

// one plays the worlds with one fault.
func (h *hunt) one(ctx context.Context, m *mutant.Mutant) (*result, error) {
	overlay, err := m.Overlay(h.root, h.dir)
	if err != nil {
		return nil, err
	}
	sim, err := h.build(ctx, m.Name, "-overlay", overlay)
	if err != nil {
		return nil, err
	}
	defer os.Remove(sim)
	var enough func(int, outcome) bool
	if !h.all {
		enough = func(seed int, o outcome) bool {
			_, kind := h.clean.without(seed, o)
			return kind != nil
		}
	}
	outcomes, err := h.play(ctx, sim, enough)
	if err != nil {
		return nil, err
	}
	return h.clean.compare(outcomes), nil
}

// build builds the simulator and returns the name of its file.
func (h *hunt) build(ctx context.Context, name string, args ...string) (string, error) {
	file := filepath.Join(h.dir, name)
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-p", strconv.Itoa(h.parallel), "-o", file}, args...), "./tools/sim")...)
	cmd.Dir = h.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build of %s: %w\n%s", name, err, out)
	}
	return file, nil
}

// play plays one world after the other, and returns what comes of each, that of seed 1 first. With enough it ends after the first world, in the order of seeds, of which enough
// says so.
func (h *hunt) play(ctx context.Context, sim string, enough func(seed int, o outcome) bool) ([]outcome, error) {
	var (
		mu       sync.Mutex
		group    sync.WaitGroup
		outcomes = make([]outcome, h.seeds)
		next     = 0
		end      = h.seeds
		failed   error
	)
	take := func() (i int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		i, next = next, next+1
		return i, i < end && failed == nil
	}
	for range h.parallel {
		group.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				o, err := h.playOne(ctx, sim, i+1)
				mu.Lock()
				outcomes[i] = o
				if err != nil {
					failed = err
				}
				if enough != nil && enough(i+1, o) {
					end = min(end, i+1)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return outcomes[:end], failed
}

// playOne plays the world of a seed. A simulator that panics or hangs is a violation, too.
func (h *hunt) playOne(ctx context.Context, sim string, seed int) (outcome, error) {
	limited, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	cmd := exec.CommandContext(limited, sim, append([]string{"-seed", strconv.Itoa(seed)}, h.world...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return outcome{}, ctx.Err()
	case limited.Err() != nil:
		return outcome{violations: []violation{{"the simulator ends", "", fmt.Sprintf("not within %v", h.limit)}}}, nil
	case errors.As(err, &exit) && exit.ExitCode() != 1:
		line, _, _ := bytes.Cut(problems.Bytes(), []byte("\n"))
		return outcome{violations: []violation{{"the simulator runs", "", string(line)}}}, nil
	case err != nil && exit == nil:
		return outcome{}, err
	}
	return parse(out.String()), nil
}
