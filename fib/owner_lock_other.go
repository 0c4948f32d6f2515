//go:build !linux

package fib

import (
	"errors"
	"fmt"
)

func claimOne(uint8) (int, error) { return -1, fmt.Errorf("fib: %w", errors.ErrUnsupported) }
