from ann2snn_diffusion.models.provenance import entry, provenance_in


def test_an_entry_tells_command_settings_versions_and_figures() -> None:
    done = entry("convert", {"seed": 3}, None, {"epsilon_error": 0.1})
    assert (done["command"], done["settings"], done["before"]) == ("convert", {"seed": 3}, None)
    assert done["after"] == {"epsilon_error": 0.1}
    assert {"torch", "diffusers"} <= set(done["versions"])
    assert provenance_in({"provenance": [done]}) == (done,)


def test_reports_from_before_there_was_a_list_keep_what_they_tell() -> None:
    versions = {"torch": "2.9.0"}
    converted = {"seed": 4, "spiking": {"time_steps": 4}, "calibration": {"states": 9}, "versions": versions}
    (first,) = provenance_in(converted)
    assert first["command"] == "convert"
    assert first["settings"] == {"seed": 4, "spiking": {"time_steps": 4}, "calibration": {"states": 9}}
    assert first["versions"] == versions
    trained = {"seed": 4, "training": {"steps": 5}, "before": {"epsilon_error": 0.2}, "versions": versions}
    (only,) = provenance_in(trained)
    assert (only["command"], only["settings"], only["before"]) == ("finetune", {"steps": 5}, {"epsilon_error": 0.2})
    assert provenance_in({}) == ()
