// SPDX-License-Identifier: Apache-2.0

// Command ebpf-tcp shows the inbound TCP connections of this host, and talks to a running
// collector.
//
//	ebpf-tcp watch [flags]
//	ebpf-tcp top [flags]
//	ebpf-tcp guard [-force] list | why ADDRESS | block ADDRESS [DURATION] | unblock ADDRESS | flush
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: ebpf-tcp COMMAND [flags]

  watch   print a line for each connection, failure, request and finding (needs root)
  top     show services, clients, failures and queues as tables (needs root)
  guard   list, explain, add and lift the blocks of a running collector

ebpf-tcp COMMAND -h describes the flags.`

// Exit codes.
const (
	exitOK = iota
	// exitRefused is for a command that could not be carried out.
	exitRefused
	// exitUsage is for a wrong command line.
	exitUsage
)

func main() {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup(1) does
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	// A reader that goes away, such as head(1), is an error of writing. It must not end the
	// process before its programs are detached.
	signal.Ignore(syscall.SIGPIPE)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(errs, usage)
		return exitUsage
	}
	switch args[0] {
	case "watch":
		return watch(ctx, args[1:], out, errs)
	case "top":
		return top(ctx, args[1:], out, errs)
	case "guard":
		return guard(args[1:], out, errs)
	case "-h", "-help", "--help", "help":
		fmt.Fprintln(out, usage)
		return exitOK
	}
	fmt.Fprintf(errs, "ebpf-tcp: there is no command %q\n%s\n", args[0], usage)
	return exitUsage
}
