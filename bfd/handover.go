package bfd

import "context"

func (p *process) give(*conn) error                                    { return errProtocol }
func Takeover(ctx context.Context, path string, cfg ServeConfig) error { return errProtocol }
