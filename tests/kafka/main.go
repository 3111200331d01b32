// Command kafka is a Kafka cluster of one broker that lives in memory, for measurements: it speaks the protocol and keeps
// what it is sent as long as it runs. It makes the topic "events" of six partitions, prints its address and ends with
// SIGINT or SIGTERM, or when its standard input is closed.
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(6, "events"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(c.ListenAddrs()[0])
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with whoever started this
		end <- os.Interrupt
	}()
	<-end
	c.Close()
}
