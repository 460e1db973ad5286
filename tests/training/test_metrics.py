from cnn_arch.training.metrics import Metrics


def test_curves_are_not_drawn_again_at_once(tmp_path):
    (tmp_path / "plots").mkdir()
    metrics = Metrics(tmp_path, 0, 1)
    times = []
    for step, last in ((1, False), (2, False), (3, True)):
        values = {"loss": 2.0, "top1_error": 50.0}
        metrics.add_step(step, {**values, "gradient_norm": 1.0, "learning_rate": 0.1})
        measured = {"images_per_second": 9, "seconds": 1, "input_wait_seconds": 0}
        metrics.add_epoch(step, {**values, "top5_error": 9.0}, **measured)
        metrics.draw(last=last)
        times.append((tmp_path / "plots" / "curves.png").stat().st_mtime_ns)
    metrics.close()
    assert times[0] == times[1] < times[2]
