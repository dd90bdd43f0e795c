// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// rpcService has the methods of rpcMethods. A call carries its number as x-id, and its answer the
// same number.
const rpcService = "/ebpftcp.test.Calls/"

// rpcMessages is how many messages a stream has.
const rpcMessages = 3

// rpcMethods are the methods of most tests: unary, the three kinds of streaming, and one that fails
// without an answer, so that head and trailers are one block.
func rpcMethods() []string { return []string{"Unary", "Up", "Down", "Both", "Fail"} }

// playRPCServer answers calls until its standard input ends. It leaves connections that are older
// than a time.
func playRPCServer(address, oldest string) error {
	age, err := time.ParseDuration(oldest)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(lab.Undecoded{}), grpc.UnknownServiceHandler(answerRPC),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: age}))
	go func() {
		_ = server.Serve(listener)
	}()
	defer server.Stop()
	return lab.UntilInputEnds()
}

func answerRPC(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	asked, _ := metadata.FromIncomingContext(stream.Context())
	if method == rpcService+"Fail" {
		return status.Error(codes.NotFound, strings.Join(asked["x-id"], " "))
	}
	if err := stream.SetHeader(metadata.MD{"x-id": asked["x-id"]}); err != nil {
		return err
	}
	if method == rpcService+"Late" {
		return answerLate(stream)
	}
	var message []byte
	for n := 0; ; n++ {
		err := stream.RecvMsg(&message)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for range map[string]int{"Both": 1, "Down": rpcMessages}[strings.TrimPrefix(method, rpcService)] {
			if err := stream.SendMsg(&message); err != nil {
				return err
			}
		}
	}
	if strings.HasSuffix(method, "Unary") || strings.HasSuffix(method, "Up") {
		return stream.SendMsg(&message)
	}
	return nil
}

// rpcPause is how long a late answer waits before its first message, and after it.
const rpcPause = 50 * time.Millisecond

// answerLate sends the head of the answer, then messages, with pauses between them.
func answerLate(stream grpc.ServerStream) error {
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for range rpcMessages {
		time.Sleep(rpcPause)
		if err := stream.SendMsg(&[]byte{1}); err != nil {
			return err
		}
	}
	time.Sleep(rpcPause)
	return nil
}

// rpcRun is a line that asks for calls of each method, so many at once, with messages of a size.
// Their numbers are from First on.
type rpcRun struct {
	First, Each, AtOnce, Bytes int
	Methods                    []string
}

// playRPCClient makes the calls that its standard input asks for, all on one connection. It prints
// the work of each line.
func playRPCClient(target string) error {
	conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(lab.Undecoded{})))
	if err != nil {
		return err
	}
	defer conn.Close()
	for lines := json.NewDecoder(os.Stdin); ; {
		var run rpcRun
		if err := lines.Decode(&run); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		done := run.call(conn)
		if err := done.Tell(); err != nil {
			return err
		}
	}
}

func (run rpcRun) call(conn *grpc.ClientConn) *lab.Work {
	var mu sync.Mutex
	var work lab.Work
	var calls sync.WaitGroup
	slots := make(chan struct{}, run.AtOnce)
	for i := range run.Each * len(run.Methods) {
		slots <- struct{}{}
		calls.Go(func() {
			err := callRPC(conn, run.Methods[i%len(run.Methods)], run.First+i, make([]byte, run.Bytes))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				fmt.Fprintln(os.Stderr, "call:", err)
			}
			work.Count(err)
			<-slots
		})
	}
	calls.Wait()
	return &work
}

// callRPC makes one call and checks what comes back.
func callRPC(conn *grpc.ClientConn, method string, id int, message []byte) error {
	number := strconv.Itoa(id)
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), "x-id", number), settle)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, rpcService+method)
	if err != nil {
		return err
	}
	messages := map[string]int{"Up": rpcMessages, "Both": rpcMessages}[method]
	for range max(messages, 1) {
		if err := stream.SendMsg(&message); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	answers := 0
	for ; err == nil; answers++ {
		err = stream.RecvMsg(new([]byte))
	}
	want := map[string]int{"Unary": 1, "Up": 1, "Down": rpcMessages, "Both": rpcMessages, "Late": rpcMessages}[method]
	if code := status.Code(err); method == "Fail" && code != codes.NotFound || method != "Fail" && !errors.Is(err, io.EOF) {
		return err
	}
	if answers-1 != want {
		return fmt.Errorf("%s had %d answers", method, answers-1)
	}
	if head, err := stream.Header(); err != nil || method != "Fail" && strings.Join(head["x-id"], " ") != number {
		return fmt.Errorf("%s has the answer of %v: %w", method, head["x-id"], err)
	}
	return nil
}
