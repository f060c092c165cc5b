// Times in the reader's zone, and the seconds a running step has taken so far.

const dates = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    if (!time.title) time.title = dates.format(new Date(time.dateTime));
  }
}

setInterval(() => {
  for (const element of document.querySelectorAll('.step[data-state="running"] [data-since]')) {
    const seconds = (Date.now() - Date.parse(element.dataset.since)) / 1000;
    if (seconds >= 0) element.textContent = seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min`;
  }
}, 200);
