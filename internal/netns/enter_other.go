//go:build !linux

package netns

import (
	"errors"
	"fmt"
)

func enter(int, func() error) error {
	return fmt.Errorf("network namespace: %w", errors.ErrUnsupported)
}
