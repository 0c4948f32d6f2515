// Command deb builds the Debian package of hvrouter: the program, its manual pages and
// completions, and what examples/hvrouter/package lists, by nfpm. Equal sources, version and
// time give an equal file.
//
//	go run ./tools/deb -o DIR [-version 0.1.0]
//
// The time in the package is that of the last commit, or SOURCE_DATE_EPOCH.
package main

import (
	"compress/gzip"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/cli"
)

const (
	module = "github.com/hyperfib/hyperfib"
	nfpm   = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2"
)

func main() {
	out := flag.String("o", ".", "`DIR` to write the package to")
	version := flag.String("version", "0.1.0", "`VERSION` of the package")
	flag.Parse()
	path, err := build(*out, *version)
	if err != nil {
		fmt.Fprintln(os.Stderr, "deb:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}

// build writes the package to the directory out and returns its path.
func build(out, version string) (string, error) {
	root, err := output("", "go", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return "", err
	}
	changed, err := modified(root)
	if err != nil {
		return "", err
	}
	work, err := os.MkdirTemp("", "hvrouter-deb")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	// nfpm takes the times of files and follows no links: it gets copies.
	hvrouter := filepath.Join(work, "examples", "hvrouter")
	dir := filepath.Join(hvrouter, "package")
	for _, name := range []string{"examples/hvrouter/package", "examples/hvrouter/samples", "examples/hvrouter/systemd"} {
		if err := os.CopyFS(filepath.Join(work, name), os.DirFS(filepath.Join(root, name))); err != nil {
			return "", err
		}
	}
	for _, name := range []string{"LICENSE", "examples/hvrouter/hv1.yaml", "examples/hvrouter/prometheus/alerts.yml", "examples/hvrouter/prometheus/dashboard.json", "examples/hvrouter/netns.yaml"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(work, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(work, name), text, 0o644)
		}
		if err != nil {
			return "", err
		}
	}
	if err := stage(root, filepath.Join(dir, "stage"), version, changed); err != nil {
		return "", err
	}
	if err := setTimes(work, changed); err != nil {
		return "", err
	}
	path := filepath.Join(out, fmt.Sprintf("hvrouter_%s_%s.deb", version, runtime.GOARCH))
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "run", nfpm, "package", "--config", "nfpm.yaml", "--packager", "deb", "--target", path)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), "PWD="+dir, "ARCH="+runtime.GOARCH, "VERSION="+version, "SOURCE_DATE_EPOCH="+strconv.FormatInt(changed.Unix(), 10))
	if text, err := cmd.Output(); err != nil {
		return "", fmt.Errorf("nfpm: %w: %s", err, text)
	}
	return path, nil
}

// stage generates what is in no file of the sources.
func stage(root, dir, version string, changed time.Time) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X "+module+"/examples/hvrouter/cli.packaged="+version,
		"-o", filepath.Join(dir, "hvrouter"), "./examples/hvrouter")
	cmd.Dir, cmd.Stderr, cmd.Env = root, os.Stderr, append(os.Environ(), "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "man"), 0o755); err != nil {
		return err
	}
	for _, page := range cli.Manual(version, changed.Format(time.DateOnly)) {
		if err := compress(filepath.Join(dir, "man", page.Name+".gz"), page.Text); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "completion"), 0o755); err != nil {
		return err
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		text, err := cli.Completion(shell)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "completion", shell), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// setTimes gives every file the same time.
func setTimes(dir string, t time.Time) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, t, t)
	})
}

// compress writes a file as gzip -9n does: without name and time.
func compress(path, text string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write([]byte(text)); err != nil {
		return err
	}
	return z.Close()
}

// modified is the time that the package bears.
func modified(root string) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		var err error
		if text, err = output(root, "git", "log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, err
		}
	}
	sec, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(sec, 0).UTC(), nil
}

func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
