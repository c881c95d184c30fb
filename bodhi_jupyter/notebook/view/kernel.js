// The end of the kernel that made a widget: what takes its place knows nothing of the widget.

export const KERNEL_ENDED = "The kernel of this panel has ended: run its cell again.";

// It also ends where another page or program restarts it: of that this page hears only that one is starting, or, where
// that comes before it listens again (seen), nothing.
const ENDING = new Set(["starting", "restarting", "autorestarting", "terminating", "dead"]);

// Calls `ended` once, when the kernel ends, or soon where it already has; returns how to stop that.
export function onKernelEnd(model, ended) {
  const session = model.widget_manager?.context?.sessionContext;
  let isOver = false;
  const end = () => {
    if (!isOver) ended();
    isOver = true;
  };
  const follow = (_, status) => ENDING.has(status) && end();
  const change = (_, { oldValue }) => oldValue && end();
  // Pages without such a session tell their widgets; a widget's layout is a model that says so of itself.
  const look = () => setTimeout(() => model.get("layout")?.comm_live === false && end());
  session?.statusChanged.connect(follow);
  session?.kernelChanged.connect(change);
  model.on("comm_live_update", look);
  look();
  return () => {
    isOver = true;
    session?.statusChanged.disconnect(follow);
    session?.kernelChanged.disconnect(change);
    model.off("comm_live_update", look);
  };
}
