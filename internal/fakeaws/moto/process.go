package moto

import "runtime"

// own starts moto and waits for it on one OS thread. Linux sends the parent-death
// signal when the thread that started the process exits, so that thread has to live
// as long as moto.
func (s *Server) own(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.done)
	err := s.cmd.Start()
	started <- err
	if err == nil {
		_ = s.cmd.Wait()
	}
}
