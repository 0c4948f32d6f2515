package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// memory takes what is left in a reflector after routes came and went from .ci/bench bgp.
func memory(ctx context.Context, b *budget) error {
	dir, err := os.MkdirTemp("", "budget")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "bgp.json")
	cmd := exec.CommandContext(ctx, os.Getenv("BENCH_BGP"), "-rows", "memory,memory100k", "-peers", "hyperfib,bird", "-json", file)
	cmd.Stderr = os.Stderr
	failed := cmd.Run() // also when it has missed its own limit, which is ours
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("bgp: %w", failed)
	}
	var all map[string]map[string]struct {
		Start, RSS float64
		Err        string
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	for row, n := range map[string]string{"memory": "1,000,000", "memory100k": "100,000"} {
		ours, bird := all[row]["hyperfib"], all[row]["bird"]
		if ours.Err != "" {
			return fmt.Errorf("%s: %s", row, ours.Err)
		}
		what := fmt.Sprintf("routereflector, %s routes announced and withdrawn", n)
		b.most(what+": more memory", ours.RSS-ours.Start, 4, "MiB")
		b.show("the same: BIRD", number(bird.RSS-bird.Start, "MiB"), "")
	}
	return nil
}
