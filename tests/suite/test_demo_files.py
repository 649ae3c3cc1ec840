"""What the demo writes is what the parts read: no key of its files is silently ignored."""

from ninesight_collector.gpu.scenario import GpuLoad, GpuProcess
from ninesight_collector.gpu.scenario_file import ScenarioFile
from ninesight_suite.config import load_config
from ninesight_suite.demo.files import write_files
from ninesight_suite.demo.gpu_signal import write_scenario
from ninesight_suite.demo.settings import DemoSettings
from ninesight_suite.documents import check_documents


def test_the_scenario_reaches_the_simulated_gpu(tmp_path):
    """Utilisation, memory and process of the file are those the stand-in shows, and no error is told."""
    path = tmp_path / "scenario.json"
    write_scenario(path, 0.25, 4321)
    reader = ScenarioFile(path, GpuLoad())
    load = reader(0, 0)
    assert reader.error == ""
    assert load.utilization == 0.25
    assert load.memory_used_bytes == 9 << 30
    assert load.processes == (GpuProcess(4321, int(5.5 * 2**30), 0.25),)


def test_the_configuration_and_its_documents_are_valid(tmp_path):
    """`ninesight check` accepts the demo's own files: two SLAs, their burn alerts, a price."""
    files = write_files(DemoSettings(tmp_path), "http://127.0.0.1:1/on-call")
    words = check_documents(load_config(files.config))
    assert "2 SLAs with 4 burn-rate alerts, 1 prices" in words
    assert "warning" not in words
