// Package ebs implements the builder xeroops-ebs: it starts an instance from a
// source image, provisions it over SSH, and creates an AMI of it.
//
// The contract: every resource that a build creates carries the tag
// xeroops:build with the build's id, and its name or id is recorded before the
// build waits for anything. A build that fails or is cancelled at any point
// deletes all of them; one that succeeds leaves the images alone.
package ebs
