// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/control"
)

const guardUsage = "usage: ebpf-tcp guard [-socket PATH] [-force] list | why ADDRESS | block ADDRESS [DURATION] | unblock ADDRESS | flush"

// socket is the path that docs/guard.md has.
const socket = "/run/ebpf-tcp-guard.sock"

// guard asks the guard of a running collector.
func guard(args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("ebpf-tcp guard", flag.ContinueOnError)
	flags.SetOutput(errs)
	path := flags.String("socket", socket, "the guard's `socket`")
	force := flags.Bool("force", false, "block also a network of this host, or the address that you are logged in from")
	if flags.Parse(args) != nil || flags.NArg() == 0 {
		fmt.Fprintln(errs, guardUsage)
		return exitUsage
	}
	answer, err := control.Ask(*path, control.Question{
		Command: flags.Arg(0), Arguments: flags.Args()[1:], Force: *force, From: loggedInFrom(),
	})
	if err == nil && answer.Error != "" {
		err = fmt.Errorf("guard: %s", answer.Error)
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitRefused
	}
	for _, line := range answer.Lines {
		fmt.Fprintln(out, line)
	}
	return exitOK
}

// loggedInFrom is the client of the ssh session that this process belongs to; empty without one.
func loggedInFrom() string {
	from, _, _ := strings.Cut(os.Getenv("SSH_CONNECTION"), " ")
	return from
}
