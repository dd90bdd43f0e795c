// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// roleVariable tells a program which of its roles to play.
const roleVariable = "EBPF_TCP_LAB_ROLE"

// Role is what a program does as a process of its own inside a namespace: a goroutine
// can't be in another namespace than its process without risk to the other goroutines.
// A role that serves or holds something prints "ready" when it does.
type Role func(args []string) error

// Play plays the role that Act asked this process for, if any. It exits then.
func Play(roles map[string]Role) {
	name := os.Getenv(roleVariable)
	if name == "" {
		return
	}
	err := errors.New("no such role")
	if role := roles[name]; role != nil {
		err = role(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Actor is this program in a role.
type Actor struct {
	*Process
	// Input ends most roles when it is closed.
	Input io.WriteCloser
	// Printed is what the role says.
	Printed *bufio.Reader
	output  *os.File
}

// Act starts this program inside in a role.
func (ns Namespace) Act(role string, args ...string) (*Actor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return StartActor(role, ns.Command(self, args...))
}

// RoleCommand is a command that runs a program in a role, without talking to it.
func RoleCommand(role, program string) []string {
	return []string{"env", roleVariable + "=" + role, program}
}

// StartActor starts a command that ends as this program, whatever its name is there.
func StartActor(role string, cmd *exec.Cmd) (*Actor, error) {
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe to %s: %w", role, err)
	}
	// No StdoutPipe: that would be closed as soon as the process has ended.
	output, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe from %s: %w", role, err)
	}
	defer theirs.Close()
	cmd.Stdout = theirs
	a := &Actor{Input: input, Printed: bufio.NewReader(output), output: output}
	if a.Process, err = Start(cmd); err != nil {
		return nil, errors.Join(err, input.Close(), output.Close())
	}
	a.Name = role
	return a, nil
}

// Ready waits for that word.
func (a *Actor) Ready(ctx context.Context) error {
	if err := a.output.SetReadDeadline(time.Now().Add(Settle)); err != nil {
		return fmt.Errorf("set a time limit: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = a.output.SetReadDeadline(time.Now()) })
	line, err := a.Printed.ReadString('\n')
	stop()
	if err != nil || line != "ready\n" {
		return fmt.Errorf("%s is not ready but says %q: %w", a.Name, line, errors.Join(err, ctx.Err()))
	}
	return a.output.SetReadDeadline(time.Time{})
}

// Result waits for a line of JSON.
func (a *Actor) Result(v any) error {
	line, err := a.Printed.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, v)
	}
	if err != nil {
		return fmt.Errorf("what %s did: %w: %q", a.Name, err, line)
	}
	return nil
}

// End closes the actor's input, reads the rest of what it says and waits for its end. It
// may be called again.
func (a *Actor) End() {
	_ = a.Input.Close()
	_, _ = io.Copy(io.Discard, a.Printed)
	_ = a.output.Close()
	<-a.ended
}

// Kill ends the actor at once.
func (a *Actor) Kill() {
	a.Signal(syscall.SIGKILL)
	a.End()
}

// UntilInputEnds says "ready" and waits for the end of standard input.
func UntilInputEnds() error {
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// InputEnds is closed when standard input ends.
func InputEnds() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	return ended
}

// Pace calls do perSecond times a second, and without a pause while it is behind, until do
// returns false or stop is closed.
func Pace(perSecond float64, stop <-chan struct{}, do func() bool) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	begin, done := time.Now(), 0
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		for due := int(time.Since(begin).Seconds() * perSecond); done < due; done++ {
			if !do() {
				return
			}
		}
	}
}

// Work is what a role that sends or connects has done in the end.
type Work struct {
	Done, Failed int64
	// Seconds is how long that took, where it matters.
	Seconds float64
}

// Count adds one attempt.
func (w *Work) Count(err error) {
	if err != nil {
		w.Failed++
	} else {
		w.Done++
	}
}

// Tell prints it for Result.
func (w *Work) Tell() error { return json.NewEncoder(os.Stdout).Encode(w) }

// integers parses arguments of a role.
func integers(args ...string) ([]int, error) {
	numbers := make([]int, len(args))
	for i, arg := range args {
		n, err := strconv.Atoi(arg)
		if err != nil {
			return nil, fmt.Errorf("not a number: %w", err)
		}
		numbers[i] = n
	}
	return numbers, nil
}
