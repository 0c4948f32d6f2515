//go:build !linux

package fib

import (
	"errors"
	"fmt"
	"os"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
)

// sysctlWatch is for Linux only.
type sysctlWatch struct{ file *os.File }

var errNoSysctls = fmt.Errorf("fib: sysctls: %w", errors.ErrUnsupported)

func newSysctlWatch() (*sysctlWatch, error) { return nil, errNoSysctls }

func (w *sysctlWatch) add([]fibcore.Sysctl)                      {}
func (w *sysctlWatch) remove(string)                             {}
func (w *sysctlWatch) path(kernel.SysctlWrite) string            { return "" }
func (w *sysctlWatch) read([]byte) ([]kernel.SysctlWrite, error) { return nil, errNoSysctls }
