/* What a pod's namespaces are held by: sleeps until it is told to end, and reaps. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int sign) {
  (void)sign;
  _exit(0);
}

static void reap(int sign) {
  (void)sign;
  while (waitpid(-1, 0, WNOHANG) > 0) {
  }
}

int main(void) {
  signal(SIGINT, end);
  signal(SIGTERM, end);
  signal(SIGCHLD, reap);
  for (;;) {
    pause();
  }
}
