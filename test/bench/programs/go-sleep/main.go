// Command go-sleep waits for one Go duration, as the sleep of kubernetes-image-puller's image does: a program of Go's
// runtime, of which one runs for each image that is held.
//
// Usage: go-sleep DURATION. Without exactly one it prints a line on standard error and exits with 255.
package main

import (
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) == 2 {
		if duration, err := time.ParseDuration(os.Args[1]); err == nil {
			time.Sleep(duration)
			return
		}
	}
	fmt.Fprintf(os.Stderr, "usage: %s DURATION\n", os.Args[0])
	os.Exit(-1)
}
