// Package ebs implements the builder xeroops-ebs: it starts an instance from a
// source image, provisions it over SSH, and creates an AMI of it.
//
// The contract: every resource that a build creates carries the tag
// xeroops:build with the build's id, and its name or id is recorded before the
// build waits for anything. A build that fails or is cancelled at any point
// deletes all of them, except an image whose former image is deregistered; one
// that succeeds leaves the images alone. What it does not delete, because of
// -on-error, it lists with the commands that do.
package ebs
