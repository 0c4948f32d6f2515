package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
)

// A directory is read again when it is watched, when something in it changes, and when it is gone;
// why it cannot be watched is returned once.
func TestDirectoryWatcher(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "guests")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var reader files.Reader
	w := directoryWatcher{files: &reader, path: dir}
	defer w.close()
	if err := w.wait(ctx); err != nil || w.file == nil {
		t.Fatalf("it is not watched: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vm1.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.wait(ctx); err != nil || ctx.Err() != nil || w.file == nil {
		t.Fatalf("a file came: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for w.file != nil && ctx.Err() == nil {
		if err := w.wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if ctx.Err() != nil {
		t.Fatal("it is gone, and watched")
	}
	over, end := context.WithTimeout(ctx, 50*time.Millisecond)
	defer end()
	if err := w.wait(over); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is not there: %v", err)
	}
	if err := w.wait(over); err != nil {
		t.Errorf("said twice: %v", err)
	}
	none := directoryWatcher{files: &reader}
	if err := none.wait(over); err != nil || none.file != nil {
		t.Errorf("without a directory: %v", err)
	}
}
